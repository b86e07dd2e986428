//! Runs compiled programs in a BPF interpreter and compares the results with a direct reading of the profile.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::names::{ABIS, ABSENT, MULTIPLEXERS, numbers};
use super::{Program, compile, uapi};
use crate::oci::spec::json::{List, Text};
use crate::oci::spec::linux::{Seccomp, Syscall, SyscallArg};

const ALLOW: u32 = uapi::SECCOMP_RET_ALLOW;
const ERRNO: u32 = uapi::SECCOMP_RET_ERRNO;
const KILL_PROCESS: u32 = uapi::SECCOMP_RET_KILL_PROCESS;

/// `struct seccomp_data`, without the instruction pointer.
#[derive(Debug, Clone, Copy)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

/// Runs a program as the kernel would; panics if the kernel would refuse it. Returns the action and the
/// number of steps.
fn run(program: &Program, call: &Call) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend(call.number.to_ne_bytes());
    data.extend(call.arch.to_ne_bytes());
    data.extend([0; 8]);
    call.args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));
    let (instructions, rest) = program.instructions.as_chunks::<8>();
    assert!(rest.is_empty() && instructions.len() <= 4096);
    let (mut accumulator, mut at) = (0u32, 0);
    for steps in 1.. {
        let [c0, c1, jt, jf, k @ ..] = instructions[at];
        let (code, k) = (u32::from(u16::from_ne_bytes([c0, c1])), u32::from_ne_bytes(k));
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        at += 1;
        match code {
            c if c == uapi::BPF_LD | uapi::BPF_W | uapi::BPF_ABS => {
                assert_eq!(k % 4, 0);
                accumulator = u32::from_ne_bytes(data[k as usize..k as usize + 4].try_into().unwrap());
            }
            c if c == uapi::BPF_ALU | uapi::BPF_AND | uapi::BPF_K => accumulator &= k,
            c if c == uapi::BPF_JMP | uapi::BPF_JA => at += k as usize,
            c if c == uapi::BPF_JMP | uapi::BPF_JEQ | uapi::BPF_K => at += jump(accumulator == k),
            c if c == uapi::BPF_JMP | uapi::BPF_JGT | uapi::BPF_K => at += jump(accumulator > k),
            c if c == uapi::BPF_JMP | uapi::BPF_JGE | uapi::BPF_K => at += jump(accumulator >= k),
            c if c == uapi::BPF_RET | uapi::BPF_K => return (k, steps),
            _ => panic!("instruction {at}: code {code:#x}"),
        }
    }
    unreachable!()
}

/// An action by its name in config-linux.md.
fn action(name: &str, errno: Option<u32>) -> u32 {
    match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_TRAP" => uapi::SECCOMP_RET_TRAP,
        "SCMP_ACT_ERRNO" => ERRNO | errno.unwrap_or(1),
        "SCMP_ACT_TRACE" => uapi::SECCOMP_RET_TRACE | errno.unwrap_or(1),
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_LOG" => uapi::SECCOMP_RET_LOG,
        "SCMP_ACT_NOTIFY" => uapi::SECCOMP_RET_USER_NOTIF,
        _ => panic!("{name}"),
    }
}

fn holds(arg: &SyscallArg<'_>, args: &[u64; 6], width: u64) -> bool {
    let (is, value, two) = (args[arg.index as usize] & width, arg.value & width, arg.value_two & width);
    match &*arg.op {
        "SCMP_CMP_NE" => is != value,
        "SCMP_CMP_LT" => is < value,
        "SCMP_CMP_LE" => is <= value,
        "SCMP_CMP_EQ" => is == value,
        "SCMP_CMP_GE" => is >= value,
        "SCMP_CMP_GT" => is > value,
        "SCMP_CMP_MASKED_EQ" => is & value == two & value,
        op => panic!("{op}"),
    }
}

/// Sorts as the module's documentation says; of what that leaves equal, the tighter test comes first.
type Rank = (Reverse<u32>, u8, u64, Reverse<u64>, bool);

fn rank(arg: &SyscallArg<'_>, width: u64) -> Rank {
    let value = arg.value & width;
    let (class, by_value, mask, loose) = match &*arg.op {
        "SCMP_CMP_MASKED_EQ" => (0, !(value & arg.value_two), value, false),
        "SCMP_CMP_EQ" | "SCMP_CMP_NE" => (0, !value, width, false),
        op @ ("SCMP_CMP_LT" | "SCMP_CMP_LE") => (1, value, width, op == "SCMP_CMP_LE"),
        op => (2, !value, width, op == "SCMP_CMP_GE"),
    };
    (Reverse(arg.index), class, by_value, Reverse(mask), loose)
}

/// A rule's alternative lists of conditions; an empty list always holds.
fn alternatives<'p>(rule: &'p Syscall<'p>, width: u64) -> Vec<Vec<&'p SyscallArg<'p>>> {
    let compares = |arg: &&SyscallArg<'_>| &*arg.op != "SCMP_CMP_MASKED_EQ" || arg.value & width != 0;
    let indices: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
    let repeated = (0..6).any(|index| indices.iter().filter(|i| **i == index).count() > 1);
    if repeated {
        return rule.args.iter().map(|arg| Vec::from_iter(Some(arg).filter(compares))).collect();
    }
    let mut all: Vec<_> = rule.args.iter().filter(compares).collect();
    all.sort_by_key(|arg| arg.index);
    vec![all]
}

/// The action for a call, by a direct reading of the profile.
fn expected(profile: &Seccomp<'_>, call: &Call) -> u32 {
    let default = action(&profile.default_action, profile.default_errno_ret);
    let included = |column: usize| {
        column == 0 || profile.architectures.iter().any(|name| &**name == ABIS[column].architecture)
    };
    let mut of_arch = (0..ABIS.len()).filter(|column| ABIS[*column].audit == call.arch);
    let Some(column) = of_arch.rfind(|column| ABIS[*column].first <= call.number) else {
        return KILL_PROCESS;
    };
    if !included(column) {
        // A tracer sets the number to -1 to skip a call.
        let skipped = call.arch == ABIS[0].audit && call.number == u32::MAX;
        return if skipped { default } else { KILL_PROCESS };
    }
    let number = call.number - ABIS[column].first;
    let number_in = |name: &str, column: usize| {
        numbers(name).map(|numbers| u32::from(numbers[column])).filter(|number| *number != u32::from(ABSENT))
    };
    let names =
        || profile.syscalls.iter().flat_map(|rule| rule.names.iter().map(move |name| (&**name, rule)));
    let multiplexed = || {
        let here = MULTIPLEXERS.iter().enumerate().filter(move |(_, multiplexer)| multiplexer.abi == column);
        here.map(|(index, multiplexer)| (index + ABIS.len(), multiplexer))
    };
    let over =
        multiplexed().filter(|(selector, _)| names().any(|(name, _)| number_in(name, *selector).is_some()));
    let newest = names()
        .filter_map(|(name, _)| number_in(name, column))
        .chain(over.filter_map(|(_, multiplexer)| number_in(multiplexer.name, column)))
        .max();
    if newest.is_some_and(|newest| number > newest) {
        let permits =
            [ALLOW, uapi::SECCOMP_RET_LOG, uapi::SECCOMP_RET_TRACE].contains(&(default & 0xffff_0000));
        return if permits { default } else { ERRNO | 38 };
    }

    let width = if ABIS[column].wide { u64::MAX } else { u64::from(u32::MAX) };
    let rules_in = |column: usize, number: u32| {
        names()
            .filter(move |(name, _)| number_in(name, column) == Some(number))
            .map(|(_, rule)| (rule, action(&rule.action, rule.errno_ret)))
            .filter(move |(_, action)| *action != default)
            .collect::<Vec<_>>()
    };
    let always = |rules: &[(&Syscall<'_>, u32)]| {
        rules
            .iter()
            .find(|(rule, _)| alternatives(rule, width).iter().any(Vec::is_empty))
            .map(|(_, action)| *action)
    };
    let rules = rules_in(column, number);
    if let Some(action) = always(&rules) {
        return action;
    }
    let mut met: Vec<(Vec<Rank>, u32)> = Vec::new();
    for (rule, action) in &rules {
        for conditions in alternatives(rule, width) {
            if conditions.iter().all(|arg| holds(arg, &call.args, width)) {
                met.push((conditions.iter().map(|arg| rank(arg, width)).collect(), *action));
            }
        }
    }
    if let Some((_, action)) = met.into_iter().min() {
        return action;
    }
    for (selector, multiplexer) in multiplexed() {
        if number_in(multiplexer.name, column) == Some(number) {
            let rules = rules_in(selector, (call.args[0] & multiplexer.mask) as u32);
            let possible = rules.iter().map(|(_, action)| *action);
            let strictness = |action: &u32| (action & 0xffff_0000) as i32;
            return always(&rules).or(possible.chain([default]).min_by_key(strictness)).unwrap();
        }
    }
    default
}

/// xorshift64*: the same inputs on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Calls that are likely to tell a wrong program from a right one: numbers at the edges, arguments near the
/// values.
fn likely_call(random: &mut Random, profile: &Seccomp<'_>) -> Call {
    let abi = &ABIS[random.below(ABIS.len())];
    let rule = &profile.syscalls[random.below(profile.syscalls.len())];
    let named = numbers(&rule.names[random.below(rule.names.len())]).map(|numbers| {
        let column = random.below(numbers.len());
        numbers[column]
    });
    let number = match random.below(16) {
        0 => random.next() as u32,
        1 => u32::MAX,
        2 => abi.first + random.below(600) as u32,
        3 => abi.first + random.pick(&[102, 117]),
        _ => (abi.first + u32::from(named.unwrap_or(0))).wrapping_add_signed(random.pick(&[-1, 0, 0, 0, 1])),
    };
    let arch = if random.below(32) == 0 { random.next() as u32 } else { abi.audit };
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = random.below(25) as u64;
    }
    for SyscallArg { index, value, value_two, .. } in &rule.args {
        let near =
            random.pick(&[*value, *value_two, value.wrapping_add(1), value.wrapping_sub(1), 0, u64::MAX]);
        args[*index as usize] = near ^ random.pick(&[0, 0, 0, 1 << 32, 1 << 63, random.0]);
    }
    Call { arch, number, args }
}

fn compare(profile: &Seccomp<'_>, program: &Program, call: &Call) {
    let (got, steps) = run(program, call);
    let want = expected(profile, call);
    assert_eq!(got, want, "{got:#x} instead of {want:#x} for {call:x?} by {profile:#?}");
    assert!(steps < 4096);
}

fn text(text: impl Into<String>) -> Text<'static> {
    Text(Cow::Owned(text.into()))
}

fn rule(
    names: &[&str],
    action: &str,
    errno_ret: Option<u32>,
    args: Vec<SyscallArg<'static>>,
) -> Syscall<'static> {
    let names = List(names.iter().map(|name| text(*name)).collect());
    Syscall { names, action: text(action), errno_ret, args: List(args) }
}

fn arg(index: u32, op: &str, value: u64, value_two: u64) -> SyscallArg<'static> {
    SyscallArg { index, value, value_two, op: text(format!("SCMP_CMP_{op}")) }
}

fn profile(default_action: &str, syscalls: Vec<Syscall<'static>>) -> Seccomp<'static> {
    Seccomp { default_action: text(default_action), syscalls: List(syscalls), ..Seccomp::default() }
}

fn including_all(mut profile: Seccomp<'static>) -> Seccomp<'static> {
    profile.architectures = List(ABIS.iter().map(|abi| text(abi.architecture)).collect());
    profile
}

/// Names that all ABIs have, that only some have, that have different numbers in some, and one that none has.
const NAMES: [&str; 32] = [
    "read",
    "write",
    "close",
    "clone",
    "clone3",
    "personality",
    "ioctl",
    "execve",
    "ptrace",
    "socket",
    "accept",
    "accept4",
    "recv",
    "sendmsg",
    "socketcall",
    "semop",
    "shmat",
    "msgget",
    "ipc",
    "waitpid",
    "set_tls",
    "cacheflush",
    "newfstatat",
    "arch_prctl",
    "mmap2",
    "openat2",
    "futex_time64",
    "pwritev2",
    "io_submit",
    "mseal",
    "rseq_slice_yield",
    "no_such_call",
];

const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];

/// Values with equal and different halves, on both sides of every boundary.
const VALUES: [u64; 12] = [
    0,
    1,
    5,
    6,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 5,
    (5 << 32) + 1,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

fn random_profile(random: &mut Random) -> Seccomp<'static> {
    const ACTIONS: [&str; 8] =
        ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG", "KILL_THREAD"];
    let mut syscalls = Vec::new();
    for _ in 0..1 + random.below(24) {
        let names: Vec<&str> = (0..1 + random.below(5)).map(|_| random.pick(&NAMES)).collect();
        let action = random.pick(&ACTIONS);
        let errno = (action == "ERRNO" || action == "TRACE").then(|| random.below(3) as u32);
        let mut args = Vec::new();
        if random.below(4) > 0 {
            for _ in 0..1 + random.below(3) {
                let (index, op) = (random.pick(&[0, 0, 1, 2, 5]), random.pick(&OPERATORS));
                args.push(arg(index, op, random.pick(&VALUES), random.pick(&VALUES)));
            }
        }
        syscalls.push(rule(&names, &format!("SCMP_ACT_{action}"), errno, args));
    }
    let mut profile = profile(&format!("SCMP_ACT_{}", random.pick(&ACTIONS)), syscalls);
    let included = ABIS.iter().filter(|_| random.below(3) > 0).map(|abi| text(abi.architecture));
    profile.architectures = List(included.collect());
    profile
}

#[test]
fn random_profiles_compile_to_what_they_say() {
    let mut random = Random(0x5eed);
    let mut contradictions = 0;
    for _ in 0..2000 {
        let profile = random_profile(&mut random);
        match compile(&profile) {
            Ok(program) => {
                (0..40).for_each(|_| compare(&profile, &program, &likely_call(&mut random, &profile)))
            }
            Err(error) => {
                assert!(error.to_string().contains("same conditions"), "{error}");
                contradictions += 1;
            }
        }
    }
    assert!(contradictions < 400, "{contradictions}");
}

fn recorded(config: &str, check: impl Fn(&Seccomp<'_>)) {
    let spec = crate::oci::spec::parse(config.as_bytes()).unwrap();
    check(&spec.linux.unwrap().seccomp.unwrap());
}

const DOCKER: &str = include_str!("../../../tests/fixtures/docker-plain.config.json");
const PODMAN: &str = include_str!("../../../tests/fixtures/podman-plain.config.json");

#[test]
fn recorded_profiles_compile_to_what_they_say() {
    for config in [DOCKER, PODMAN] {
        recorded(config, |profile| {
            let program = compile(profile).unwrap();
            assert_eq!((program.flags, program.listener), (uapi::SECCOMP_FILTER_FLAG_SPEC_ALLOW, false));
            for abi in &ABIS {
                for number in 0..600 {
                    let args = [u64::from(number) % 20, 0, 9, 0, 0, 0];
                    compare(profile, &program, &Call { arch: abi.audit, number: abi.first + number, args });
                }
            }
            let mut random = Random(0xd0c);
            (0..10_000).for_each(|_| compare(profile, &program, &likely_call(&mut random, profile)));
        });
    }
}

#[test]
fn recorded_profiles_stay_small_and_shallow() {
    for config in [DOCKER, PODMAN] {
        recorded(config, |profile| {
            let program = compile(profile).unwrap();
            assert!(program.instructions.len() / 8 < 600, "{}", program.instructions.len() / 8);
            let deepest = (0..600).map(|number| run(&program, &native(number, [0; 6])).1).max().unwrap();
            assert!(deepest < 48, "{deepest}");
        });
    }
}

fn native(number: u32, args: [u64; 6]) -> Call {
    Call { arch: ABIS[0].audit, number, args }
}

fn number_of(name: &str) -> u32 {
    u32::from(numbers(name).unwrap()[0])
}

#[test]
fn operators_compare_64_bits() {
    let read = number_of("read");
    for op in OPERATORS {
        for value in VALUES {
            for two in VALUES {
                let profile = profile(
                    "SCMP_ACT_ALLOW",
                    vec![rule(&["read"], "SCMP_ACT_ERRNO", Some(7), vec![arg(3, op, value, two)])],
                );
                let program = compile(&profile).unwrap();
                for is in VALUES.into_iter().flat_map(|v| [v, v.wrapping_add(1), v.wrapping_sub(1), v ^ two])
                {
                    compare(&profile, &program, &native(read, [!is, 0, 0, is, 0, 0]));
                }
            }
        }
    }
}

#[test]
fn narrow_abis_compare_the_lower_half() {
    let allow = rule(&["read"], "SCMP_ACT_ALLOW", None, vec![arg(0, "EQ", u64::MAX, 0)]);
    let program = compile(&including_all(profile("SCMP_ACT_ERRNO", vec![allow]))).unwrap();
    for abi in ABIS.iter().filter(|abi| numbers("read").unwrap()[0] != ABSENT && abi.first != 0xf_0000) {
        let column =
            ABIS.iter().position(|other| std::ptr::eq(other.architecture, abi.architecture)).unwrap();
        let number = abi.first + u32::from(numbers("read").unwrap()[column]);
        let args = [0xdead_0000_ffff_ffff, 0, 0, 0, 0, 0];
        let want = if abi.wide { ERRNO | 1 } else { ALLOW };
        assert_eq!(run(&program, &Call { arch: abi.audit, number, args }).0, want, "{}", abi.architecture);
    }
}

#[test]
fn an_argument_that_occurs_twice_makes_alternatives() {
    let args = vec![arg(0, "EQ", 3, 0), arg(0, "EQ", 4, 0), arg(1, "EQ", 5, 0)];
    let program =
        compile(&profile("SCMP_ACT_ERRNO", vec![rule(&["read"], "SCMP_ACT_ALLOW", None, args)])).unwrap();
    let action = |a, b| run(&program, &native(number_of("read"), [a, b, 0, 0, 0, 0])).0;
    assert_eq!([action(3, 0), action(4, 0), action(9, 5), action(9, 9)], [ALLOW, ALLOW, ALLOW, ERRNO | 1]);
}

#[test]
fn the_first_rule_without_conditions_decides_alone() {
    let conditional = || rule(&["read"], "SCMP_ACT_ERRNO", Some(3), vec![arg(0, "EQ", 3, 0)]);
    let first = || rule(&["read"], "SCMP_ACT_LOG", None, vec![]);
    let second = || rule(&["read"], "SCMP_ACT_ERRNO", Some(9), vec![]);
    for rules in [vec![conditional(), first(), second()], vec![first(), conditional(), second()]] {
        let program = compile(&profile("SCMP_ACT_ALLOW", rules)).unwrap();
        for a in [3, 4] {
            let call = native(number_of("read"), [a, 0, 0, 0, 0, 0]);
            assert_eq!(run(&program, &call).0, uapi::SECCOMP_RET_LOG);
        }
    }
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let known = |action: &str| vec![rule(&["read", "close"], action, None, vec![])];
    let newest = number_of("read").max(number_of("close"));
    for (default, beyond) in [
        ("SCMP_ACT_ERRNO", ERRNO | 38),
        ("SCMP_ACT_KILL", ERRNO | 38),
        ("SCMP_ACT_TRAP", ERRNO | 38),
        ("SCMP_ACT_LOG", uapi::SECCOMP_RET_LOG),
        ("SCMP_ACT_TRACE", uapi::SECCOMP_RET_TRACE | 1),
    ] {
        let program = compile(&profile(default, known("SCMP_ACT_ALLOW"))).unwrap();
        assert_eq!(run(&program, &native(newest, [0; 6])).0, ALLOW);
        assert_eq!(run(&program, &native(newest + 1, [0; 6])).0, beyond, "{default}");
    }
    // The rule's action does not matter, only that the author knew the call.
    let program = compile(&profile("SCMP_ACT_KILL_PROCESS", known("SCMP_ACT_KILL_PROCESS"))).unwrap();
    assert_eq!(run(&program, &native(newest, [0; 6])).0, KILL_PROCESS);
    assert_eq!(run(&program, &native(newest + 1, [0; 6])).0, ERRNO | 38);
    let program = compile(&profile("SCMP_ACT_ERRNO", vec![])).unwrap();
    assert_eq!(run(&program, &native(400, [0; 6])).0, ERRNO | 1);
}

#[test]
fn other_architectures_are_killed() {
    let program = compile(&profile("SCMP_ACT_ALLOW", vec![])).unwrap();
    assert_eq!(run(&program, &native(3, [0; 6])).0, ALLOW);
    assert_eq!(run(&program, &Call { arch: uapi::AUDIT_ARCH_S390X, ..native(3, [0; 6]) }).0, KILL_PROCESS);
    for abi in ABIS.iter().skip(1) {
        let call = Call { arch: abi.audit, number: abi.first + 3, args: [0; 6] };
        assert_eq!(run(&program, &call).0, KILL_PROCESS, "{}", abi.architecture);
        let all = including_all(profile("SCMP_ACT_ALLOW", vec![]));
        assert_eq!(run(&compile(&all).unwrap(), &call).0, ALLOW, "{}", abi.architecture);
    }
    assert_eq!(run(&program, &native(u32::MAX, [0; 6])).0, ALLOW);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn numbers_of_the_abis() {
    assert_eq!(numbers("execve"), Some(&[59, 11, 520, ABSENT, ABSENT]));
    assert_eq!(numbers("mkdirat"), Some(&[258, 296, 258, ABSENT, ABSENT]));
    assert_eq!(numbers("pwritev2"), Some(&[328, 379, 547, ABSENT, ABSENT]));
    assert_eq!(numbers("socket"), Some(&[41, 359, 41, 1, ABSENT]));
    assert_eq!(numbers("semop"), Some(&[65, ABSENT, 65, ABSENT, 1]));
    assert_eq!(numbers("listns"), Some(&[470, 470, 470, ABSENT, ABSENT]));
    assert_eq!(numbers("read_"), None);
    assert_eq!(numbers(""), None);
    for call in syscalls::x86_64::Sysno::iter() {
        assert_eq!(numbers(call.name()).unwrap()[0], call.id() as u16, "{call}");
    }
    for call in syscalls::x86::Sysno::iter() {
        assert_eq!(numbers(call.name()).unwrap()[1], call.id() as u16, "{call}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn multiplexed_calls_are_covered() {
    let rules = vec![
        rule(&["bind", "shmat"], "SCMP_ACT_ERRNO", Some(2), vec![]),
        rule(&["socket"], "SCMP_ACT_ERRNO", Some(3), vec![arg(0, "EQ", 40, 0)]),
    ];
    let call = |number, selector| Call { arch: ABIS[1].audit, number, args: [selector, 9, 9, 0, 0, 0] };
    let program = compile(&including_all(profile("SCMP_ACT_ALLOW", rules))).unwrap();
    let actions =
        [call(102, 2), call(102, 1), call(102, 3), call(117, 21), call(117, 21 | 1 << 16), call(117, 22)];
    let got = actions.map(|call| run(&program, &call).0);
    assert_eq!(got, [ERRNO | 2, ERRNO | 3, ALLOW, ERRNO | 2, ERRNO | 2, ALLOW]);
    // A rule that allows depending on arguments does not carry over.
    let rules = vec![rule(&["socket"], "SCMP_ACT_ALLOW", None, vec![arg(0, "NE", 40, 0)])];
    let program = compile(&including_all(profile("SCMP_ACT_ERRNO", rules))).unwrap();
    assert_eq!(run(&program, &call(102, 1)).0, ERRNO | 1);
    assert_eq!(run(&program, &call(359, 1)).0, ALLOW);
}

#[test]
fn long_programs_bridge_their_jumps() {
    // Every call has an action and conditions of its own, so that nothing can be shared.
    let mut rules = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        for value in 0..8u64 {
            let args =
                vec![arg(0, "EQ", value << 32 | index as u64, 0), arg(1, "GT", value + index as u64, 0)];
            rules.push(rule(&[name], "SCMP_ACT_ERRNO", Some(index as u32 * 8 + value as u32 + 2), args));
        }
    }
    let profile = including_all(profile("SCMP_ACT_ALLOW", rules));
    let program = compile(&profile).unwrap();
    assert!(program.instructions.len() / 8 > 1000, "{}", program.instructions.len() / 8);
    let mut random = Random(7);
    (0..30_000).for_each(|_| compare(&profile, &program, &likely_call(&mut random, &profile)));
}

#[test]
fn too_long_a_program_is_an_error() {
    let args = (0..3000).map(|value| arg(0, "EQ", value, 0)).collect();
    let error =
        compile(&profile("SCMP_ACT_ALLOW", vec![rule(&["read"], "SCMP_ACT_ERRNO", None, args)])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "linux.seccomp: the rules need more than 4096 BPF instructions, the most that the kernel takes"
    );
}

#[test]
fn flags() {
    let with = |flags: Option<&[&str]>, notify: bool| {
        let action = if notify { "SCMP_ACT_NOTIFY" } else { "SCMP_ACT_ERRNO" };
        let mut profile = profile("SCMP_ACT_ALLOW", vec![rule(&["mkdir"], action, None, vec![])]);
        profile.flags = flags.map(|flags| List(flags.iter().map(|flag| text(*flag)).collect()));
        profile.listener_path = notify.then(|| text("/run/agent.sock"));
        compile(&profile).map(|program| (program.flags, program.listener)).map_err(|error| error.to_string())
    };
    let all =
        ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"].map(|f| format!("SECCOMP_FILTER_FLAG_{f}"));
    let all = all.each_ref().map(String::as_str);
    assert_eq!(with(None, false), Ok((4, false)));
    assert_eq!(with(Some(&[]), false), Ok((0, false)));
    assert_eq!(with(Some(&all[..3]), false), Ok((6, false)));
    assert_eq!(with(None, true), Ok((12, true)));
    assert_eq!(with(Some(&all), true), Ok((8 | 32 | 6, true)));
    assert!(with(Some(&all), false).unwrap_err().starts_with("linux.seccomp: flags[3]: "));
    assert!(with(Some(&["LOG"]), false).unwrap_err().starts_with("linux.seccomp: flags[0]: \"LOG\": "));
}

#[test]
fn errors_name_the_field() {
    let deny = |action: &str, errno, args| vec![rule(&["mkdir"], action, errno, args)];
    let errno = |args| deny("SCMP_ACT_ERRNO", None, args);
    let cases = [
        (profile("", vec![]), "defaultAction: \"\": must be"),
        (profile("ALLOW", vec![]), "defaultAction: \"ALLOW\": must be"),
        (profile("SCMP_ACT_NOTIFY", vec![]), "listenerPath: missing"),
        (
            Seccomp { default_errno_ret: Some(1), ..profile("SCMP_ACT_ALLOW", vec![]) },
            "defaultErrnoRet: only",
        ),
        (
            profile("SCMP_ACT_ALLOW", deny("SCMP_ACT_FOO", None, vec![])),
            "syscalls[0]: action: \"SCMP_ACT_FOO\"",
        ),
        (profile("SCMP_ACT_ALLOW", deny("SCMP_ACT_KILL", Some(1), vec![])), "syscalls[0]: errnoRet: only"),
        (
            profile("SCMP_ACT_ALLOW", deny("SCMP_ACT_ERRNO", Some(4096), vec![])),
            "syscalls[0]: errnoRet: 4096: ",
        ),
        (profile("SCMP_ACT_ALLOW", errno(vec![arg(6, "EQ", 0, 0)])), "syscalls[0]: args[0]: index: 6: "),
        (
            profile("SCMP_ACT_ALLOW", errno(vec![arg(0, "IS", 0, 0)])),
            "syscalls[0]: args[0]: op: \"SCMP_CMP_IS\"",
        ),
        (profile("SCMP_ACT_ALLOW", deny("SCMP_ACT_NOTIFY", None, vec![])), "listenerPath: missing"),
        (
            profile("SCMP_ACT_ALLOW", vec![rule(&[""], "SCMP_ACT_ERRNO", None, vec![])]),
            "syscalls[0]: names: ",
        ),
        (
            Seccomp { architectures: List(vec![text("SCMP_ARCH_Z80")]), ..profile("SCMP_ACT_ALLOW", vec![]) },
            "architectures[0]: \"SCMP_ARCH_Z80\"",
        ),
        (
            Seccomp { listener_metadata: Some(text("x")), ..profile("SCMP_ACT_ALLOW", vec![]) },
            "listenerMetadata: needs",
        ),
        (
            profile(
                "SCMP_ACT_ALLOW",
                vec![
                    rule(&["read"], "SCMP_ACT_ERRNO", None, vec![arg(0, "EQ", 4, 0)]),
                    rule(&["read"], "SCMP_ACT_KILL", None, vec![arg(0, "EQ", 4, 0)]),
                ],
            ),
            "read: two rules with the same conditions",
        ),
    ];
    for (profile, message) in cases {
        let error = compile(&profile).unwrap_err().to_string();
        assert!(error.starts_with(&format!("linux.seccomp: {message}")), "{error}");
    }
}

#[test]
fn what_this_machine_lacks_is_skipped() {
    let mut foreign =
        profile("SCMP_ACT_ALLOW", vec![rule(&["no_such_call"], "SCMP_ACT_ERRNO", None, vec![])]);
    let nothing = compile(&profile("SCMP_ACT_ALLOW", vec![])).unwrap();
    foreign.architectures = List(vec![text("SCMP_ARCH_S390X"), text("SCMP_ARCH_PARISC")]);
    assert_eq!(compile(&foreign).unwrap(), nothing);
    foreign.listener_path = Some(text("/run/agent.sock"));
    assert_eq!(compile(&foreign).unwrap(), nothing);
}
