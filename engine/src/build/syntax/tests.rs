use super::*;

fn read(text: &str) -> Vec<Located> {
    parse(text).unwrap_or_else(|fault| panic!("{:?}: {}", fault.span, fault.error)).instructions
}

fn wrong(text: &str) -> (usize, String) {
    let fault = parse(text).expect_err(text);
    (fault.span.map_or(0, |span| span.first), fault.error.to_string())
}

fn shell(text: &str) -> CommandLine {
    CommandLine::Shell(text.to_string())
}

fn run_of(located: &Located) -> &Run {
    match &located.instruction {
        Instruction::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_go_on_behind_comments() {
    let text = "\u{feff}# a comment\r\nFROM base AS Build\r\nRUN one \\\r\n# between\r\n\r\n  # and more\r\n  two \\  \r\n  three\r\nCMD [\"a\", \"b c\"]\r\n";
    let read = read(text);
    assert_eq!(read.len(), 3);
    assert!(
        matches!(&read[0].instruction, Instruction::From(From { name: Some(name), .. }) if name == "build")
    );
    assert_eq!(run_of(&read[1]).command, shell("one   two   three"));
    assert_eq!(read[1].span, Span { first: 3, last: 8 });
    assert_eq!(read[2].instruction, Instruction::Cmd(CommandLine::Exec(vec!["a".into(), "b c".into()])));
}

#[test]
fn directives_stand_first() {
    let dockerfile = parse(
        "# syntax = docker/dockerfile:1\n# escape=`\n\n# check=skip=all\nFROM a\nRUN x `\n y \\\nCMD z",
    )
    .unwrap();
    let Directives { syntax, escape } = dockerfile.directives;
    assert_eq!((syntax.as_deref(), escape), (Some("docker/dockerfile:1"), '`'));
    assert_eq!(run_of(&dockerfile.instructions[1]).command, shell("x  y \\"));
    assert!(wrong("# escape=x\nFROM a").1.contains("escape=x: must be"));
    assert!(wrong("# escape=`\n# escape=`\nFROM a").1.contains("stands twice"));
    // Two of the signs are no continuation.
    assert_eq!(read("FROM a\nRUN x \\\\\nRUN y").len(), 3);
}

#[test]
fn heredocs_follow_their_line() {
    let text = "FROM a\nRUN <<EOF cat - <<-\"OTHER\" >/x\none $X\n\tEOF\nEOF\n\ttwo\n\tOTHER\nCOPY <<'A B' <<b /dst/\nx\nA B\ny\nb\n";
    // A name with a blank in quotes is one word.
    let read = read(text);
    let heredocs = &run_of(&read[1]).heredocs;
    assert_eq!(heredocs.len(), 2);
    assert_eq!((heredocs[0].content.as_str(), heredocs[0].expands), ("one $X\n\tEOF\n", true));
    assert_eq!((heredocs[1].name.as_str(), heredocs[1].text().as_str()), ("OTHER", "two\n"));
    assert!(!heredocs[1].expands && heredocs[1].chomps);
    let Instruction::Copy(copy) = &read[2].instruction else { panic!("{read:?}") };
    assert_eq!((copy.heredocs[0].name.as_str(), copy.heredocs[1].content.as_str()), ("A B", "y\n"));
    assert_eq!((copy.sources.len(), copy.destination.as_str()), (0, "/dst/"));
    assert_eq!(
        wrong("FROM a\nRUN <<EOF\nx\n"),
        (2, "the heredoc EOF has no end: a line EOF is missing".into())
    );
    assert_eq!(run_of(&parse("FROM a\nRUN echo x<<EOF").unwrap().instructions[1]).heredocs.len(), 0);
}

#[test]
fn flags_stand_before_arguments() {
    let read = read(
        "FROM --platform=$BUILDPLATFORM a\nCOPY --from=x --chown=1:2 --chmod=0644 --link --exclude=*.o --exclude='b c' [\"a b\", \"/d/\"]\n\
         ADD --checksum=sha256:00 --unpack=false https://x/y /\n\
         RUN --mount='type=cache,target=/c,\"id=a,b\",sharing=locked,uid=1,mode=0700' --mount=target=/src,rw --network=none --security=sandbox -- --x\n\
         HEALTHCHECK --interval=1m --retries=2 CMD [\"x\"]",
    );
    assert!(
        matches!(&read[0].instruction, Instruction::From(from) if from.platform.as_deref() == Some("$BUILDPLATFORM"))
    );
    let Instruction::Copy(copy) = &read[1].instruction else { panic!("{read:?}") };
    assert_eq!((copy.sources[0].as_str(), copy.excludes[1].as_str(), copy.link), ("a b", "b c", true));
    let Instruction::Add(add) = &read[2].instruction else { panic!("{read:?}") };
    assert_eq!((add.unpack, add.checksum.as_deref()), (Some(false), Some("sha256:00")));
    let run = run_of(&read[3]);
    assert_eq!((run.command.clone(), run.network.as_deref()), (shell("--x"), Some("none")));
    let mount = RunMount::parse(&run.mounts[1]).unwrap();
    assert!(matches!(mount.kind, MountKind::Bind { from: None, writable: true, .. }));
    let Instruction::Healthcheck(Health::Command { retries: Some(2), .. }) = read[4].instruction else {
        panic!()
    };
}

#[test]
fn mounts_have_fields() {
    let of = |text: &str| RunMount::parse(text).unwrap();
    let cache = of("type=cache,dst=/c,id=x,sharing=private,uid=5,gid=6,mode=0700,from=b,source=/s");
    assert!(
        matches!(cache.kind, MountKind::Cache { sharing: CacheSharing::Private, owner, .. } if owner.uid == 5 && owner.mode == 0o700)
    );
    assert!(matches!(of("type=secret,id=k,env=KEY,required").kind, MountKind::Secret { required: true, .. }));
    assert!(matches!(of("type=tmpfs,target=/t,size=1m").kind, MountKind::Tmpfs { size: Some(1_048_576) }));
    assert!(matches!(of("target=/t,ro=false").kind, MountKind::Bind { writable: true, .. }));
    for text in [
        "type=x,target=/t",
        "type=cache",
        "target=/t,foo=1",
        "type=cache,target=/t,sharing=x",
        "type=secret,mode=9",
        "type=ssh,required=maybe",
    ] {
        assert!(RunMount::parse(text).unwrap_err().to_string().starts_with("RUN --mount="), "{text}");
    }
}

#[test]
fn what_is_no_array_is_for_the_shell() {
    let read =
        read("FROM a\nRUN [ -f /x ] && y\nCMD [\"a\", ]\nENTRYPOINT []\nVOLUME /a /b\nVOLUME [\"/c\"]");
    assert_eq!(run_of(&read[1]).command, shell("[ -f /x ] && y"));
    assert_eq!(read[2].instruction, Instruction::Cmd(shell("[\"a\", ]")));
    assert_eq!(read[3].instruction, Instruction::Entrypoint(CommandLine::Exec(Vec::new())));
    assert_eq!(read[4].instruction, Instruction::Volume(vec!["/a".into(), "/b".into()]));
    assert!(wrong("FROM a\nRUN [\"a\", 1]").1.contains("words alone"));
}

#[test]
fn pairs_are_new_or_old() {
    let pairs = |text: &str| match &read(&format!("FROM a\n{text}"))[1].instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => pairs.clone(),
        other => panic!("{other:?}"),
    };
    let of = |name: &str, value: &str| (name.to_string(), value.to_string());
    assert_eq!(pairs("ENV A=1 B=\"x y\" C=a\\ b"), [of("A", "1"), of("B", "\"x y\""), of("C", "a\\ b")]);
    assert_eq!(pairs("ENV A  one two"), [of("A", "one two")]);
    assert_eq!(pairs("LABEL \"a b\"=c"), [of("\"a b\"", "c")]);
    assert!(wrong("FROM a\nENV A").1.contains("ENV NAME=VALUE"));
    assert!(wrong("FROM a\nENV A=1 B").1.contains("B: must be NAME=VALUE"));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    assert_eq!(wrong("FROM a\n\nRUM x"), (3, "RUM: there is no such instruction (RUN?)".into()));
    assert_eq!(wrong("FROM a\nCOPY a").1, "COPY a: must be COPY SOURCE … DESTINATION");
    assert_eq!(wrong("FROM a\nCOPY --foo a b").1, "COPY --foo: there is no such flag");
    assert!(wrong("FROM a AS 1b").1.contains("must begin with a letter"));
    assert!(wrong("FROM a b c d").1.contains("must be FROM IMAGE"));
    assert!(wrong("FROM a\nONBUILD FROM x").1.contains("cannot be a trigger"));
    assert!(wrong("FROM a\nHEALTHCHECK x").1.contains("HEALTHCHECK CMD"));
    assert!(wrong("FROM a\nWORKDIR").1.contains("WORKDIR: an argument is missing"));
    assert_eq!(wrong("# nothing\n").0, 0);
}
