use super::*;
use crate::oci::spec::json::Text;

/// Runs the few operations that `assemble` uses, with a context like the kernel's.
fn interpret(program: &[Instruction], context: [u32; 3]) -> bool {
    let mut registers = [0u64; 6];
    let mut at = 0;
    loop {
        let Instruction { code, registers: pair, offset, immediate } = program[at];
        let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
        let immediate = i64::from(immediate) as u64;
        let jump = match code {
            code::LOAD_WORD => {
                assert_eq!(from, usize::from(CONTEXT));
                registers[to] = u64::from(context[offset as usize / 4]);
                false
            }
            code::MOVE => {
                registers[to] = immediate;
                false
            }
            code::MOVE_REGISTER => {
                registers[to] = registers[from];
                false
            }
            code::AND => {
                registers[to] &= immediate;
                false
            }
            code::SHIFT_RIGHT => {
                registers[to] >>= immediate;
                false
            }
            code::JUMP => true,
            code::JUMP_EQUAL => registers[to] == immediate,
            code::JUMP_NOT_EQUAL => registers[to] != immediate,
            code::JUMP_ANY_BIT => registers[to] & immediate != 0,
            code::EXIT => return registers[usize::from(VERDICT)] == 1,
            other => panic!("operation {other:#x}"),
        };
        at += 1 + if jump { usize::try_from(offset).unwrap() } else { 0 };
    }
}

#[derive(Debug, Clone, Copy)]
struct Access {
    kind: Kind,
    major: u32,
    minor: u32,
    asked: u8,
}

/// Evaluates a list literally: for each letter by itself, the last rule that names it decides.
fn evaluate(rules: &[DeviceRule], access: Access) -> bool {
    let mut list: Vec<Rule> = rules.iter().enumerate().map(|(i, r)| Rule::parse(i, r).unwrap()).collect();
    for kind in [Kind::Char, Kind::Block] {
        list.push(Rule { allow: true, kind, major: None, minor: None, access: MKNOD });
    }
    list.extend(DEFAULTS);
    [MKNOD, READ, WRITE].into_iter().filter(|letter| access.asked & letter != 0).all(|letter| {
        let names = |rule: &&Rule| {
            (rule.kind == Kind::Any || rule.kind == access.kind)
                && rule.major.is_none_or(|major| major == access.major)
                && rule.minor.is_none_or(|minor| minor == access.minor)
                && rule.access & letter != 0
        };
        list.iter().rfind(names).is_some_and(|rule| rule.allow)
    })
}

fn run(program: &Option<DeviceProgram>, access: Access) -> bool {
    let Access { kind, major, minor, asked } = access;
    program.as_ref().is_none_or(|program| {
        interpret(program.instructions(), [u32::from(asked) << 16 | kind as u32, major, minor])
    })
}

/// Small numbers that are the same in every run: xorshift64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const MAJORS: [i64; 5] = [1, 5, 8, 10, 136];

fn random_rule(numbers: &mut Numbers) -> DeviceRule<'static> {
    DeviceRule {
        allow: numbers.below(2) == 1,
        kind: numbers.pick(&[None, Some("a"), Some("b"), Some("c"), Some("c")]).map(Text::from),
        major: numbers.pick(&[None, Some(-1), Some(1), Some(5), Some(8), Some(10), Some(136)]),
        minor: match numbers.below(3) {
            0 => None,
            _ => Some(numbers.below(10) as i64),
        },
        access: numbers
            .pick(&[None, Some("rwm"), Some("rw"), Some("r"), Some("w"), Some("m"), Some("wm")])
            .map(Text::from),
    }
}

#[test]
fn programs_say_what_the_rules_say() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let rules: Vec<_> = (0..numbers.below(9)).map(|_| random_rule(&mut numbers)).collect();
        let program = compile_devices(&rules).unwrap();
        for _ in 0..100 {
            let access = Access {
                kind: numbers.pick(&[Kind::Block, Kind::Char]),
                major: numbers.pick(&MAJORS) as u32,
                minor: numbers.below(11) as u32,
                asked: numbers.below(8) as u8,
            };
            assert_eq!(run(&program, access), evaluate(&rules, access), "{rules:#?} {access:?}");
        }
    }
}

#[test]
fn every_instruction_can_be_reached() {
    let mut numbers = Numbers(7);
    for _ in 0..2000 {
        let rules: Vec<_> = (0..numbers.below(9)).map(|_| random_rule(&mut numbers)).collect();
        let Some(program) = compile_devices(&rules).unwrap() else { continue };
        let instructions = program.instructions();
        let mut reached = vec![false; instructions.len()];
        reached[0] = true;
        for (at, instruction) in instructions.iter().enumerate() {
            // Jumps only go forwards, so that one pass finds everything.
            assert!(reached[at], "instruction {at} of {rules:#?}");
            let class = instruction.code & 7;
            if class == code::JUMP & 7 && instruction.code != code::EXIT {
                reached[at + 1 + instruction.offset as usize] = true;
            }
            if !matches!(instruction.code, code::EXIT | code::JUMP) {
                reached[at + 1] = true;
            }
        }
    }
}

fn rule(
    allow: bool,
    kind: &'static str,
    major: i64,
    minor: i64,
    access: &'static str,
) -> DeviceRule<'static> {
    DeviceRule {
        allow,
        kind: Some(kind.into()),
        major: Some(major),
        minor: Some(minor),
        access: Some(access.into()),
    }
}

#[test]
fn allowing_everything_needs_no_program() {
    let everything = DeviceRule { allow: true, access: Some("rwm".into()), ..DeviceRule::default() };
    assert_eq!(compile_devices(std::slice::from_ref(&everything)).unwrap(), None);
    // Docker's privileged list first denies and then allows everything.
    let list = [rule(false, "a", -1, -1, "rwm"), rule(false, "c", 10, 229, "rwm"), everything.clone()];
    assert_eq!(compile_devices(&list).unwrap(), None);
    // Denying what the defaults grant anyway makes no difference.
    assert_eq!(compile_devices(&[everything.clone(), rule(false, "c", 1, 3, "rwm")]).unwrap(), None);
    let denied = compile_devices(&[everything, rule(false, "c", 10, 229, "rwm")]).unwrap();
    let fuse = Access { kind: Kind::Char, major: 10, minor: 229, asked: READ };
    assert!(!run(&denied, fuse));
    assert!(run(&denied, Access { minor: 230, ..fuse }));
}

#[test]
fn no_rule_at_all_leaves_the_defaults() {
    let program = compile_devices(&[]).unwrap();
    let null = Access { kind: Kind::Char, major: 1, minor: 3, asked: READ | WRITE };
    assert!(run(&program, null));
    assert!(run(&program, Access { major: 136, minor: 77, ..null }));
    assert!(!run(&program, Access { minor: 1, ..null }));
    assert!(!run(&program, Access { kind: Kind::Block, ..null }));
    assert!(run(&program, Access { kind: Kind::Block, asked: MKNOD, ..null }));
}

#[test]
fn a_denied_letter_is_denied_together_with_others() {
    let list = [rule(true, "a", -1, -1, "rwm"), rule(false, "b", 8, 0, "w")];
    let program = compile_devices(&list).unwrap();
    let disk = Access { kind: Kind::Block, major: 8, minor: 0, asked: READ };
    assert!(run(&program, disk));
    assert!(!run(&program, Access { asked: READ | WRITE, ..disk }));
    assert!(!run(&program, Access { asked: WRITE, ..disk }));
}

#[test]
fn the_usual_list_becomes_a_short_program() {
    let list = [
        rule(false, "a", -1, -1, "rwm"),
        rule(true, "c", 10, 229, "rwm"),
        rule(false, "a", -1, -1, "rwm"),
        rule(true, "c", 1, 5, "rwm"),
        rule(true, "c", 5, 0, "rwm"),
        rule(true, "c", 5, 1, "rwm"),
        rule(false, "c", 10, 229, "rwm"),
    ];
    let program = compile_devices(&list).unwrap().unwrap();
    assert!(program.instructions().len() <= 28, "{:#?}", program.instructions());
}

#[test]
fn invalid_rules_are_named() {
    let message = |rule| compile_devices(&[DeviceRule::default(), rule]).unwrap_err().to_string();
    assert_eq!(
        message(rule(true, "p", 1, 3, "r")),
        "linux.resources.devices[1].type: 'p' is not one of a, b, c"
    );
    assert_eq!(
        message(rule(true, "c", 4096, 3, "r")),
        "linux.resources.devices[1].major: 4096 is not a number from 0 to 4095, or -1 for all"
    );
    assert_eq!(
        message(rule(true, "c", 1, -2, "r")),
        "linux.resources.devices[1].minor: -2 is not a number from 0 to 1048575, or -1 for all"
    );
    assert_eq!(
        message(rule(true, "c", 1, 3, "rx")),
        "linux.resources.devices[1].access: 'rx' is not made of r, w, m"
    );
    assert!(compile_devices(&[rule(true, "c", 1, 3, "")]).is_err());
}

#[test]
fn lists_of_what_is_open_are_systemds_too() {
    let list = [
        rule(false, "a", -1, -1, "rwm"),
        rule(true, "c", 10, 229, "rwm"),
        rule(true, "b", 8, -1, "r"),
        rule(true, "c", -1, -1, "m"),
    ];
    let nodes = device_allow(&list).unwrap().unwrap();
    let own: Vec<_> = nodes.iter().filter(|(node, _)| !node.starts_with("/dev/char/1:")).collect();
    let own: Vec<_> = own.iter().map(|(node, access)| format!("{node} {access}")).collect();
    let always = ["block-* m", "char-* m", "char-136 rw", "/dev/char/5:0 rw", "/dev/char/5:2 rw"];
    for entry in always.into_iter().chain(["block-8 r", "/dev/char/10:229 rw"]) {
        assert!(own.iter().any(|own| own == entry), "{entry}: {own:?}");
    }
    assert_eq!((own.len(), nodes.len()), (7, 12), "{nodes:?}");
    for unsayable in [
        vec![rule(true, "a", -1, -1, "rwm")],
        vec![rule(true, "b", -1, -1, "rwm"), rule(false, "b", 8, 0, "rwm")],
        vec![rule(true, "b", -1, -1, "r"), rule(true, "b", 8, 0, "w")],
        vec![rule(true, "b", -1, 3, "rwm")],
    ] {
        assert_eq!(device_allow(&unsayable).unwrap(), None, "{unsayable:?}");
    }
}
