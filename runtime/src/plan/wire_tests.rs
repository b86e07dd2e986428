//! The plan's bytes: an encoded plan decodes to the same plan, and other bytes are refused, never trusted.

use std::collections::BTreeSet;
use std::ffi::CStr;

use pillbox_init::plan::operation::{
    self, AttachRoot, AttachScratchRoot, Await, AwaitStart, BindMount, Chroot, CopySymlink, DieWithRuntime,
    DropBounding, EndOnSignals, EnterChroot, EnterRoot, EnterRootCover, EnterTimeNamespace, Exec,
    FindExecutable, InstallSeccomp, JoinNamespace, JoinNetwork, KeepDescriptors, MakeDirectory, MakeNode,
    MakePathReadonly, MakeSymlink, MaskPath, MountOverlay, MountWithData, NewKeyring, NewSession,
    OpenConsole, OwnStdio, PivotRoot, ReadHome, Ready, Remount, ReplaceStdio, ReportHooks, RetryCwd,
    SendFileSystem, SendNetlinkSocket, SetCapabilities, SetCwd, SetDomainname, SetDumpable, SetExecLabel,
    SetGroups, SetHostname, SetIoPriority, SetMemoryPolicy, SetMountAttributes, SetNoNewPrivileges,
    SetPersonality, SetPropagation, SetRlimit, SetScheduler, SetUmask, SetUndumpable, SetUser,
    StandBeforeProgram, TakeTrees, TakeWord, Unmount, UnmountOnFailure, Unshare, UseEveryProcessor,
    WriteSysctl, WriteTimeOffsets,
};
use pillbox_init::plan::{
    EntryStep, Header, IoClass, NodeKind, Operation, Operations, SecurityModule, TargetRule, Tree, Turn,
};
use pillbox_init::report::{MESSAGE_MAX, Report, Stage};
use pillbox_init::wire::{Capabilities, Malformed, Numbers, Reader, Strings, Wire};
use rustix::fs::Mode;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::{Gid, Uid};

use super::tests::{intent, privileged_host, recorded, valid};
use super::{Plan, compile};
use crate::explain::describe;

/// Marsaglia's xorshift64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn encoded(operation: &Operation<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    operation.encode(&mut bytes);
    bytes
}

fn of(bytes: &[u8]) -> Strings<'_> {
    Strings::new(bytes).expect("are strings")
}

/// Each operation at least once, with the smallest and the largest values of its fields.
fn examples() -> Vec<Operation<'static>> {
    let (set, none) = (MountAttrFlags::from_bits_retain(u32::MAX), MountAttrFlags::empty());
    let (slave, unset) =
        (MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC, MountPropagationFlags::empty());
    let path = Tree::Path { path: c"/a b", recursive: true, nofollow: true };
    let all = Capabilities(u64::MAX);
    let flags = of(b"newinstance\0\0sync\0");
    let parameters = of(b"mode\x00755\0size\0\0");
    vec![
        Operation::DieWithRuntime(DieWithRuntime { enabled: true }),
        Operation::DieWithRuntime(DieWithRuntime { enabled: false }),
        Operation::UseEveryProcessor(UseEveryProcessor),
        Operation::EndOnSignals(EndOnSignals { signals: 1 << 63 | 1 }),
        Operation::Await(Await { turn: Turn::Mappings }),
        Operation::Await(Await { turn: Turn::RuntimeHooks }),
        Operation::Await(Await { turn: Turn::Record }),
        Operation::Await(Await { turn: Turn::Listener }),
        Operation::Await(Await { turn: Turn::Network }),
        Operation::Await(Await { turn: Turn::Pidfd }),
        Operation::SetUndumpable(SetUndumpable),
        Operation::SetDumpable(SetDumpable),
        Operation::NewSession(NewSession),
        Operation::NewKeyring(NewKeyring { name: c"_ses.x" }),
        Operation::Unshare(Unshare { flags: u32::MAX }),
        Operation::SetPropagation(SetPropagation { propagation: slave }),
        Operation::AttachRoot(AttachRoot {
            tree: Tree::Descriptor(u32::MAX),
            at: c"/root",
            propagation: unset,
        }),
        Operation::AttachScratchRoot(AttachScratchRoot { at: c"/tmp" }),
        Operation::MountOverlay(MountOverlay { lower: c"/usr", user_xattr: true }),
        Operation::Mount(operation::Mount {
            kind: c"tmpfs",
            source: c"",
            target: c"/dev",
            rule: TargetRule::NoSymlinks,
            flags,
            parameters,
            attributes: set,
            propagation: slave,
            take_mode: true,
            copy_up: false,
            otherwise: Some(path),
        }),
        Operation::Mount(operation::Mount {
            kind: c"proc",
            source: c"proc",
            target: c"/proc",
            rule: TargetRule::Ordinary,
            flags: Strings::default(),
            parameters: Strings::default(),
            attributes: none,
            propagation: unset,
            take_mode: false,
            copy_up: true,
            otherwise: None,
        }),
        Operation::MountWithData(MountWithData {
            kind: c"overlay",
            source: c"o",
            target: c"/",
            data: c"lowerdir=/a:/b",
            attributes: set,
            propagation: unset,
        }),
        Operation::TakeTrees(TakeTrees { trees: Numbers(&[1, 0, 0, 0, 2, 0, 0, 0]) }),
        Operation::BindMount(BindMount {
            tree: path,
            target: c"/proc/cpuinfo",
            rule: TargetRule::InsideProc,
            set,
            clear: none,
            drop: set,
            recursive_set: none,
            recursive_clear: set,
            propagation: slave,
            recursive_propagation: true,
        }),
        Operation::SetMountAttributes(SetMountAttributes {
            target: c"/",
            set,
            propagation: unset,
            recursive: true,
        }),
        Operation::Remount(Remount {
            target: c"/proc",
            set,
            clear: none,
            reconfigure: true,
            flags,
            parameters,
            propagation: slave,
        }),
        Operation::UnmountOnFailure(UnmountOnFailure),
        Operation::Unmount(Unmount { folder: c"/", name: c"data", rehearse: true }),
        Operation::Unmount(Unmount { folder: c"/srv", name: c"data", rehearse: false }),
        Operation::CopySymlink(CopySymlink { path: c"/etc/mtab", target: c"../proc/mounts" }),
        Operation::MakeNode(MakeNode {
            path: c"/dev/x",
            kind: NodeKind::Block,
            major: 0,
            minor: u32::MAX,
            mode: Mode::from_raw_mode(0o7777),
            uid: Uid::from_raw(u32::MAX - 1),
            gid: Gid::ROOT,
        }),
        Operation::MakeNode(MakeNode {
            path: c"/dev/y",
            kind: NodeKind::Character,
            major: 1,
            minor: 3,
            mode: Mode::empty(),
            uid: Uid::ROOT,
            gid: Gid::from_raw(1),
        }),
        Operation::MakeNode(MakeNode {
            path: c"/dev/z",
            kind: NodeKind::Fifo,
            major: 0,
            minor: 0,
            mode: Mode::empty(),
            uid: Uid::ROOT,
            gid: Gid::ROOT,
        }),
        Operation::MakeSymlink(MakeSymlink { path: c"/dev/fd", target: c"/proc/self/fd", replace: true }),
        Operation::MakeDirectory(MakeDirectory { path: c"/\xff\n", mode: Mode::from_raw_mode(0o755) }),
        Operation::SendNetlinkSocket(SendNetlinkSocket),
        Operation::SendFileSystem(SendFileSystem { kind: c"proc", flags, parameters }),
        Operation::JoinNetwork(JoinNetwork),
        Operation::PivotRoot(PivotRoot),
        Operation::Chroot(Chroot { cover: true }),
        Operation::OpenConsole(OpenConsole {
            rows: u16::MAX,
            columns: 0,
            uid: Uid::from_raw(5),
            mount: true,
        }),
        Operation::SetHostname(SetHostname { name: c"" }),
        Operation::SetDomainname(SetDomainname { name: c"d" }),
        Operation::WriteSysctl(WriteSysctl { path: c"sys/net", value: c"0 1" }),
        Operation::MakePathReadonly(MakePathReadonly { path: c"/proc/sys" }),
        Operation::MaskPath(MaskPath { path: c"/proc/kcore" }),
        Operation::OwnStdio(OwnStdio { uid: Uid::from_raw(1000), gid: Gid::from_raw(5) }),
        Operation::SetUmask(SetUmask { mask: Mode::from_raw_mode(0o777) }),
        Operation::SetRlimit(SetRlimit { resource: 15, soft: 0, hard: u64::MAX }),
        Operation::SetNoNewPrivileges(SetNoNewPrivileges),
        Operation::InstallSeccomp(InstallSeccomp { flags: u32::MAX, program: &[0xff; 24] }),
        Operation::InstallSeccomp(InstallSeccomp { flags: 0, program: &[] }),
        Operation::DropBounding(DropBounding { keep: all }),
        Operation::SetGroups(SetGroups {
            groups: Numbers(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            if_allowed: true,
        }),
        Operation::SetUser(SetUser { uid: Uid::ROOT, gid: Gid::from_raw(u32::MAX - 1) }),
        Operation::SetCapabilities(SetCapabilities {
            effective: all,
            permitted: Capabilities(1),
            inheritable: Capabilities(0),
            ambient: Capabilities(1 << 63),
        }),
        Operation::SetCwd(SetCwd { path: c"/" }),
        Operation::RetryCwd(RetryCwd { path: c"/" }),
        Operation::ReadHome(ReadHome { uid: Uid::from_raw(1) }),
        Operation::FindExecutable(FindExecutable { name: c"sh", search: c"" }),
        Operation::Ready(Ready),
        Operation::AwaitStart(AwaitStart { listener: 7 }),
        Operation::KeepDescriptors(KeepDescriptors { count: 1, listener: 2 }),
        Operation::TakeWord(TakeWord),
        Operation::StandBeforeProgram(StandBeforeProgram),
        Operation::EnterRootCover(EnterRootCover),
        Operation::ReportHooks(ReportHooks),
        Operation::ReplaceStdio(ReplaceStdio { input: 0, output: u32::MAX, error: 1 }),
        Operation::EnterRoot(EnterRoot),
        Operation::EnterChroot(EnterChroot { root: 1 }),
        Operation::JoinNamespace(JoinNamespace { namespace: 1, flag: u32::MAX }),
        Operation::WriteTimeOffsets(WriteTimeOffsets { offsets: c"monotonic -1 5\n" }),
        Operation::EnterTimeNamespace(EnterTimeNamespace),
        Operation::SetScheduler(SetScheduler {
            policy: 6,
            flags: u64::MAX,
            nice: -20,
            priority: 99,
            runtime: 1,
            deadline: u64::MAX,
            period: 0,
        }),
        Operation::SetIoPriority(SetIoPriority { class: IoClass::Realtime, level: 0 }),
        Operation::SetIoPriority(SetIoPriority { class: IoClass::BestEffort, level: 7 }),
        Operation::SetIoPriority(SetIoPriority { class: IoClass::Idle, level: u32::MAX }),
        Operation::SetPersonality(SetPersonality { domain: 8 }),
        Operation::SetMemoryPolicy(SetMemoryPolicy { mode: u32::MAX, nodes: &[0xff; 16] }),
        Operation::SetMemoryPolicy(SetMemoryPolicy { mode: 0, nodes: &[] }),
        Operation::SetExecLabel(SetExecLabel { module: SecurityModule::AppArmor, label: c"unconfined" }),
        Operation::SetExecLabel(SetExecLabel { module: SecurityModule::SeLinux, label: c"u:r:t:s0" }),
        Operation::Exec(Exec { arguments: of(b"sh\0-c\0\0"), environment: Strings::default() }),
    ]
}

#[test]
fn every_operation_reads_back() {
    let examples = examples();
    let named: BTreeSet<_> = examples.iter().map(Operation::name).collect();
    assert_eq!(named, Operation::NAMES.iter().copied().collect(), "examples() is to have every operation");
    let mut plan = Vec::new();
    for operation in &examples {
        let bytes = encoded(operation);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Operation::decode(&mut reader), Ok(*operation));
        assert!(reader.is_empty(), "{operation:?}");
        // No prefix of it is a whole operation.
        for length in 0..bytes.len() {
            assert_eq!(
                Operation::decode(&mut Reader::new(&bytes[..length])),
                Err(Malformed),
                "{operation:?}: {length}"
            );
        }
        plan.extend_from_slice(&bytes);
    }
    let read: Result<Vec<_>, _> = Operations(Reader::new(&plan)).collect();
    assert_eq!(read, Ok(examples));
}

#[test]
fn numbers_of_operations_are_their_own() {
    let first: BTreeSet<_> = examples().iter().map(|operation| encoded(operation)[0]).collect();
    assert_eq!(first.len(), Operation::NAMES.len());
    for number in (0..=u8::MAX).filter(|number| !first.contains(number)) {
        let mut bytes = vec![0; 256];
        bytes[0] = number;
        assert_eq!(Operation::decode(&mut Reader::new(&bytes)), Err(Malformed), "{number}");
    }
}

/// Reads everything that init reads and that `explain` shows; returns the number of operations that were
/// read.
fn read_all(bytes: &[u8], plan: &Plan) -> usize {
    let mut reader = Reader::new(bytes);
    let Ok(header) = Header::decode(&mut reader) else { return 0 };
    assert!(header.descriptors.iter().count() + header.steps().count() <= bytes.len() / 4);
    let mut count = 0;
    for operation in Operations(reader) {
        let Ok(operation) = operation else { break };
        count += 1;
        let mut again = Vec::new();
        operation.encode(&mut again);
        assert_eq!(Operation::decode(&mut Reader::new(&again)), Ok(operation));
        assert!(describe(&operation, plan).starts_with(operation.name()));
        if let Operation::Exec(Exec { arguments, environment }) = operation {
            // Init makes room for this many pointers.
            assert_eq!(arguments.iter().count(), arguments.len());
            assert_eq!(environment.iter().count(), environment.len());
        }
    }
    assert!(count <= bytes.len());
    count
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let place = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(place),
            1 => bytes.insert(place, random.next() as u8),
            2 if !bytes.is_empty() => drop(bytes.remove(place)),
            // Something that looks like a length.
            3 if bytes.len() >= 4 => {
                let place = random.below(bytes.len() - 3);
                let extreme = [u32::MAX, u32::MAX - 3, 1 << 31, 0, 1, bytes.len() as u32][random.below(6)];
                bytes[place..place + 4].copy_from_slice(&extreme.to_le_bytes());
            }
            4 => {
                let end = place + random.below(bytes.len() - place);
                let copy = bytes[place..end].to_vec();
                bytes.splice(place..place, copy);
            }
            _ if !bytes.is_empty() => bytes[place] = random.next() as u8,
            _ => {}
        }
    }
}

#[test]
fn mutated_plans_are_read_or_refused() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let empty = Plan::default();
    let mut whole = 0;
    let examples = examples();
    for _ in 0..100_000 {
        let mut bytes = Vec::new();
        Header { channel: 3, descriptors: Numbers(&[4, 0, 0, 0]), entry: Numbers(&[1; 24]) }
            .encode(&mut bytes);
        let length = bytes.len();
        let count = 1 + random.below(4);
        for _ in 0..count {
            examples[random.below(examples.len())].encode(&mut bytes);
        }
        let mut operations = bytes.split_off(length);
        mutate(&mut operations, &mut random);
        bytes.extend(operations);
        whole += usize::from(read_all(&bytes, &empty) == count);
    }
    // Some must have survived, otherwise only the first byte was tested.
    assert!(whole > 10_000, "{whole}");
}

#[test]
fn mutated_plans_of_recorded_containers_are_read_or_refused() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let plans: Vec<_> = recorded()
        .iter()
        .filter_map(|(_, config)| compile(&valid(config), &privileged_host(), &intent()).ok())
        .collect();
    for round in 0..1000 {
        let plan = &plans[round % plans.len()];
        let numbers: Vec<u32> = (10..).take(plan.descriptors.len()).collect();
        let mut bytes = plan.encode(4, &numbers, &[EntryStep::Clone { namespaces: 0, cgroup: None }]);
        let unchanged = read_all(&bytes, plan);
        assert_eq!(unchanged, plan.operations().count());
        mutate(&mut bytes, &mut random);
        read_all(&bytes, plan);
    }
}

#[test]
fn random_bytes_are_read_or_refused() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    let empty = Plan::default();
    for _ in 0..100_000 {
        let count = random.below(200);
        let mut bytes = random.bytes(count);
        read_all(&bytes, &empty);
        // The same after a valid header.
        let mut plan = Vec::new();
        Header { channel: 0, descriptors: Numbers::default(), entry: Numbers::default() }.encode(&mut plan);
        if let Some(first) = bytes.first_mut() {
            *first %= 48;
        }
        plan.extend(bytes);
        read_all(&plan, &empty);
    }
}

#[test]
fn steps_of_the_entry_read_back() {
    let steps = [
        EntryStep::Clone { namespaces: 0, cgroup: Some(7) },
        EntryStep::SetUndumpable,
        EntryStep::Enter { descriptor: 8, namespaces: 1 << 29 },
        EntryStep::Clone { namespaces: 1 << 17, cgroup: None },
    ];
    let bytes = Plan::default().encode(3, &[], &steps);
    let header = Header::decode(&mut Reader::new(&bytes)).expect("is whole");
    assert_eq!(header.steps().collect::<Vec<_>>(), steps.map(Ok));
    // An unknown kind of step, and half a step.
    for numbers in [&[[9u8, 0, 0, 0]; 3][..], &[[0; 4]; 2]] {
        let entry = Numbers(numbers.as_flattened());
        let header = Header { channel: 3, descriptors: Numbers::default(), entry };
        assert_eq!(header.steps().collect::<Vec<_>>(), [Err(Malformed)]);
    }
}

#[test]
fn a_header_reads_back() {
    let descriptors = [9u32, u32::MAX >> 1, 0].map(u32::to_le_bytes).concat();
    let mut bytes = Vec::new();
    Header { channel: u32::MAX, descriptors: Numbers(&descriptors), entry: Numbers(&descriptors) }
        .encode(&mut bytes);
    bytes.push(7);
    let mut reader = Reader::new(&bytes);
    let header = Header::decode(&mut reader).expect("is whole");
    assert_eq!(
        (header.channel, header.descriptors.iter().collect::<Vec<_>>()),
        (u32::MAX, vec![9, u32::MAX >> 1, 0])
    );
    assert_eq!(reader.rest(), [7]);
    for length in 0..bytes.len() - 1 {
        assert!(Header::decode(&mut Reader::new(&bytes[..length])).is_err(), "{length}");
    }
    bytes[0] ^= 1;
    assert!(Header::decode(&mut Reader::new(&bytes)).is_err());
}

#[test]
fn an_id_that_stands_for_none_is_refused() {
    let mut bytes = Vec::new();
    Operation::SetUser(SetUser { uid: Uid::ROOT, gid: Gid::ROOT }).encode(&mut bytes);
    for id in [1..5, 5..9] {
        let mut none = bytes.clone();
        none[id].fill(0xff);
        assert_eq!(Operation::decode(&mut Reader::new(&none)), Err(Malformed));
    }
}

#[test]
fn strings_at_their_edges() {
    let list = |bytes: &'static [u8]| {
        Strings::new(bytes).map(|strings| strings.iter().map(CStr::to_bytes).collect())
    };
    assert_eq!(list(b""), Ok(vec![]));
    assert_eq!(list(b"\0"), Ok(vec![&b""[..]]));
    assert_eq!(list(b"\0\0"), Ok(vec![&b""[..], b""]));
    assert_eq!(list(b"a\0\0bc\0"), Ok(vec![&b"a"[..], b"", b"bc"]));
    assert_eq!(list(b"\xff\xfe\0"), Ok(vec![&b"\xff\xfe"[..]]));
    assert_eq!(list(b"a"), Err::<Vec<&[u8]>, _>(Malformed));
    assert_eq!(list(b"a\0b"), Err(Malformed));
    assert_eq!((of(b"a\0b\0").len(), of(b"").is_empty(), of(b"\0").is_empty()), (2, true, false));
}

#[test]
fn numbers_at_their_edges() {
    let decode = |bytes: &[u8]| {
        let mut input = (bytes.len() as u32).to_le_bytes().to_vec();
        input.extend_from_slice(bytes);
        Numbers::decode(&mut Reader::new(&input)).map(|numbers| numbers.iter().collect::<Vec<_>>())
    };
    assert_eq!(decode(&[]), Ok(vec![]));
    assert_eq!(decode(&[1, 0, 0, 0]), Ok(vec![1]));
    assert_eq!(decode(&[0xff; 8]), Ok(vec![u32::MAX; 2]));
    for length in [1, 2, 3, 5, 7] {
        assert_eq!(decode(&vec![0; length]), Err(Malformed), "{length}");
    }
    // A length that reaches past the end.
    assert_eq!(Numbers::decode(&mut Reader::new(&[4, 0, 0, 0, 1, 2, 3])), Err(Malformed));
    assert_eq!(<&[u8]>::decode(&mut Reader::new(&[0xff; 4])), Err(Malformed));
}

#[test]
fn texts_and_flags_are_strict() {
    for bytes in [&[0, 0, 0, 0][..], &[1, 0, 0, 0, b'a'], &[2, 0, 0, 0, 0, 0], &[3, 0, 0, 0, b'a', 0, 0]] {
        assert_eq!(<&CStr>::decode(&mut Reader::new(bytes)), Err(Malformed), "{bytes:?}");
    }
    assert_eq!(<&CStr>::decode(&mut Reader::new(&[1, 0, 0, 0, 0])), Ok(c""));
    assert_eq!(bool::decode(&mut Reader::new(&[2])), Err(Malformed));
    assert_eq!(Tree::decode(&mut Reader::new(&[0, 0, 0, 0, 0])), Err(Malformed));
    assert_eq!(Turn::decode(&mut Reader::new(&[0])), Err(Malformed));
    assert_eq!(NodeKind::decode(&mut Reader::new(&[4])), Err(Malformed));
}

const STAGES: [Stage; 8] = [
    Stage::Call,
    Stage::Target,
    Stage::Source,
    Stage::Option,
    Stage::Create,
    Stage::Attributes,
    Stage::Attach,
    Stage::Verify,
];

#[test]
fn reports_read_back_with_the_kernels_text_behind() {
    let failed =
        STAGES.map(|stage| Report::Failed { operation: u32::MAX, errno: i32::MIN, stage, detail: 3 });
    let others = [
        Report::Malformed { operation: 5 },
        Report::NetlinkSocket,
        Report::FileSystem,
        Report::TreeRefused { index: 7 },
        Report::Console,
        Report::Ready,
        Report::AtHooks,
        Report::Forked { index: 1, pid: 77 },
        Report::NotEntered { index: 1, errno: 13 },
        Report::SeccompListener { descriptor: u32::MAX },
    ];
    for report in failed.into_iter().chain(others) {
        let mut bytes = Vec::new();
        report.encode(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(Report::decode(&mut Reader::new(&bytes[..length])), Err(Malformed), "{report:?}");
        }
        bytes.extend_from_slice(b"overlay: bad value");
        assert!(bytes.len() < MESSAGE_MAX);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Report::decode(&mut reader), Ok(report));
        assert_eq!(reader.rest(), b"overlay: bad value");
    }
}

#[test]
fn random_reports_are_read_or_refused() {
    let mut random = Random(0xfeed_beef_1234_5678);
    let mut read = 0;
    for _ in 0..100_000 {
        let count = random.below(MESSAGE_MAX);
        let mut bytes = random.bytes(count);
        if let Some(first) = bytes.first_mut() {
            *first %= 8;
        }
        let mut reader = Reader::new(&bytes);
        if let Ok(report) = Report::decode(&mut reader) {
            read += 1;
            let mut again = Vec::new();
            report.encode(&mut again);
            assert_eq!(again, bytes[..bytes.len() - reader.rest().len()]);
        }
    }
    assert!(read > 10_000, "{read}");
}
