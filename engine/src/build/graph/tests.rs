use std::collections::BTreeMap;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::build::fault::Fault;
use crate::build::syntax::parse;
use crate::error::{Error, Result};
use crate::image::{Configuration, Platform};

/// Images by their names, with what they say of themselves.
#[derive(Default)]
struct Known {
    asked: Vec<String>,
    env: Vec<String>,
    on_build: Vec<String>,
}

impl Images for Known {
    fn find(&mut self, name: &str, platform: &Platform) -> Result<BaseImage> {
        self.asked.push(format!("{name} {platform}"));
        if name == "none" {
            return Err(Error::not_found("none: there is no such image"));
        }
        let mut config = Configuration::default();
        config.config.env.clone_from(&self.env);
        config.config.cmd = vec!["of-base".into()];
        config.config.on_build.clone_from(&self.on_build);
        Ok(BaseImage {
            name: name.to_string(),
            reference: None,
            id: crate::Digest::of(name.as_bytes()).into(),
            config,
            layers: Vec::new(),
        })
    }
}

fn wishes(arguments: &[(&str, &str)]) -> Wishes {
    let platform = Platform::parse("linux/arm/v7").expect("platform");
    let arguments = arguments.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let machine = Platform::parse("linux/amd64").expect("platform");
    Wishes { target: None, arguments: arguments.collect(), platform, machine, contexts: Vec::new() }
}

fn compiled(text: &str, wishes: &Wishes, images: &mut Known) -> std::result::Result<Graph, Fault> {
    compile(&parse(text)?, wishes, images)
}

fn graph(text: &str) -> Graph {
    compiled(text, &wishes(&[]), &mut Known::default()).unwrap_or_else(|fault| panic!("{}", fault.error))
}

fn last(graph: &Graph) -> &Stage {
    graph.stages[graph.target].as_ref().expect("the target")
}

fn history(stage: &Stage) -> Vec<&str> {
    stage.history.iter().map(|line| line.created_by.as_str()).collect()
}

#[test]
fn stages_that_nobody_needs_are_left_out() {
    let text = "FROM base AS a\nFROM unused AS b\nRUN x\nFROM a AS c\nCOPY --from=0 /x /\nFROM scratch\nCOPY --from=C /x /\nCOPY --from=other:1 /y /\n";
    let mut images = Known::default();
    let graph = compiled(text, &wishes(&[]), &mut images).unwrap();
    let needed: Vec<bool> = graph.stages.iter().map(Option::is_some).collect();
    assert_eq!(needed, [true, false, true, true]);
    assert_eq!(images.asked, ["base linux/arm/v7", "other:1 linux/arm/v7"]);
    assert_eq!((graph.target, last(&graph).base), (3, Base::Scratch));
    let Action::Copy(copy) = &last(&graph).steps[0].action else { panic!() };
    assert_eq!(copy.from, Origin::Stage(2));
    let asked = Wishes { target: Some("A".into()), ..wishes(&[]) };
    assert_eq!(compiled(text, &asked, &mut Known::default()).unwrap().target, 0);
    let wrong = Wishes { target: Some("x".into()), ..wishes(&[]) };
    let error = compiled(text, &wrong, &mut Known::default()).unwrap_err().error.to_string();
    assert_eq!(error, "--target x: there is no such stage: there are a, b, c");
    let error = compiled("FROM scratch\n", &wrong, &mut Known::default()).unwrap_err().error.to_string();
    assert_eq!(error, "--target x: there is no such stage: none has a name: 0 to 0 are their numbers");
}

#[test]
fn arguments_have_scopes() {
    let text = "ARG TAG=1\nARG IMAGE=base:$TAG\nFROM --platform=$BUILDPLATFORM $IMAGE AS one\nARG TAG\nARG TARGETPLATFORM\nARG TARGETVARIANT\nARG OWN=own-${TAG}\nARG NONE\nRUN x\nENV OWN=env\nRUN y\nFROM $IMAGE\nCOPY --from=one $TAG /$IMAGE\n";
    let mut images = Known::default();
    let graph = compiled(text, &wishes(&[("TAG", "2"), ("http_proxy", "p")]), &mut images).unwrap();
    assert_eq!(images.asked, ["base:2 linux/arm/v7", "base:2 linux/amd64"]);
    let one = graph.stages[0].as_ref().unwrap();
    let Action::Run(run) = &one.steps[0].action else { panic!() };
    let variables: BTreeMap<_, _> = run.environment.iter().cloned().collect();
    for (name, value) in
        [("TAG", "2"), ("TARGETPLATFORM", "linux/arm/v7"), ("TARGETVARIANT", "v7"), ("OWN", "own-2")]
    {
        assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!variables.contains_key("NONE") && !variables.contains_key("IMAGE"));
    assert_eq!(run.proxies, [("http_proxy".to_string(), "p".to_string())]);
    let lines = history(one);
    assert_eq!(
        &lines[..5],
        ["ARG TAG=2", "ARG TARGETPLATFORM=linux/arm/v7", "ARG TARGETVARIANT=v7", "ARG OWN=own-2", "ARG NONE"]
    );
    assert_eq!(
        lines[5],
        "RUN |5 TAG=2 TARGETPLATFORM=linux/arm/v7 TARGETVARIANT=v7 OWN=own-2 NONE= /bin/sh -c x # buildkit"
    );
    assert!(lines[7].contains("OWN=env"), "{}", lines[7]);
    // What stands before the first stage is not known in stages that do not ask for it.
    let Action::Copy(copy) = &last(&graph).steps[0].action else { panic!() };
    assert_eq!(
        (copy.sources.clone(), copy.destination.as_str()),
        (vec![CopySource::Path(String::new())], "/")
    );
    assert!(graph.has_argument("TAG") && !graph.has_argument("OTHER"));
}

#[test]
fn stages_know_the_arguments_of_those_below() {
    let text = "FROM base AS one\nARG A=1\nARG B=1\nENV B=2\nARG B=3\nFROM one\nRUN x\nFROM base\nRUN x\nCOPY --from=1 / /\n";
    let graph = graph(text);
    let of = |stage: usize| {
        let stage = graph.stages[stage].as_ref().expect("a stage");
        let Action::Run(run) = &stage.steps[0].action else { panic!() };
        let known = |name: &str| {
            run.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        (known("A"), known("B"), history(stage)[0].to_string())
    };
    let expected = "RUN |2 A=1 B=2 /bin/sh -c x # buildkit".to_string();
    assert_eq!(of(1), (Some("1".into()), Some("2".into()), expected));
    assert_eq!((of(2).0, of(2).1), (None, None));
}

#[test]
fn names_without_a_value_are_told() {
    let text = "ARG V=1\nFROM base\nLABEL v=$V w=${V} x=${W:-x} y=${W+y}\nENV A=$1$@ B=${UNKNOWN#x}\nRUN echo $NONE\nARG V\nLABEL v=$V\nCOPY <<EOF /x\n$FILE\nEOF\n";
    let graph = graph(text);
    let said: Vec<(usize, &str)> =
        last(&graph).warnings.iter().map(|(span, text)| (span.first, text.as_str())).collect();
    let expected = [
        (3, "$V has no value: a stage that uses it needs an ARG V of its own"),
        (8, "$FILE has no value: ${FILE:-} says that it may be empty"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn ports_are_in_the_order_of_their_words() {
    let graph = graph("FROM base\nEXPOSE 80 ${NONE:-81} 1/SCTP 9-10/udp\n");
    assert_eq!(history(last(&graph)), ["EXPOSE [81/tcp 1/sctp 80/tcp 9/udp 10/udp]"]);
}

#[test]
fn a_working_folder_stays_as_it_is_written() {
    let graph = graph("FROM base\nWORKDIR /a/./b/\nRUN x\nWORKDIR ../c/\n");
    let stage = last(&graph);
    let Action::Run(run) = &stage.steps[1].action else { panic!() };
    assert_eq!((run.workdir.as_str(), stage.config.config.working_dir.as_str()), ("/a/b", "/a/c"));
    assert_eq!((history(stage)[0], history(stage)[2]), ("WORKDIR /a/./b/", "WORKDIR /a/c"));
}

#[test]
fn paths_are_below_the_working_folder() {
    let graph = graph(
        "FROM scratch\nWORKDIR a\nWORKDIR b/../c\nCOPY x .\nCOPY x y\nCOPY x /z/\nCOPY x ../w/\nENV D=/d\nWORKDIR $D\nWORKDIR /\n",
    );
    let stage = last(&graph);
    let places: Vec<&str> = stage
        .steps
        .iter()
        .map(|step| match &step.action {
            Action::Workdir { path, .. } => path.as_str(),
            Action::Copy(copy) => copy.destination.as_str(),
            Action::Run(_) => "",
        })
        .collect();
    assert_eq!(places, ["/a", "/a/c", "/a/c/", "/a/c/y", "/z/", "/a/w/", "/d"]);
    assert_eq!(stage.config.config.working_dir, "/");
    // At the root there is nothing to make.
    assert_eq!(stage.history.last().unwrap().step, None);
}

#[test]
fn an_entry_point_takes_the_command_of_the_image_below_away() {
    let of = |text: &str| {
        let config = last(&graph(text)).config.config.clone();
        (config.entrypoint, config.cmd)
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of("FROM base\nENTRYPOINT [\"e\"]"), (words(&["e"]), words(&[])));
    assert_eq!(of("FROM base\nCMD [\"c\"]\nENTRYPOINT [\"e\"]"), (words(&["e"]), words(&["c"])));
    assert_eq!(of("FROM base\nUSER x"), (words(&[]), words(&["of-base"])));
    assert_eq!(
        of("FROM base\nSHELL [\"/s\", \"-x\"]\nENTRYPOINT e\nCMD c d"),
        (words(&["/s", "-x", "e"]), words(&["/s", "-x", "c d"]))
    );
}

#[test]
fn triggers_are_done_first_and_once() {
    let mut images = Known { on_build: vec!["ENV A=1".into(), "RUN echo $A".into()], ..Known::default() };
    let text = "FROM base AS one\nONBUILD WORKDIR /w\nRUN own\nFROM one\nONBUILD USER x\n";
    let graph = compiled(text, &wishes(&[]), &mut images).unwrap();
    let one = graph.stages[0].as_ref().unwrap();
    assert_eq!(
        one.steps.iter().map(|step| step.text.as_str()).collect::<Vec<_>>(),
        ["RUN echo $A", "RUN own"]
    );
    assert_eq!(one.steps[0].span.first, 1);
    assert_eq!(last(&graph).config.config.on_build, ["USER x"]);
    // A stage has triggers as an image has.
    assert_eq!(last(&graph).steps[0].text, "WORKDIR /w");
    let mut images = Known { on_build: vec!["FOO".into()], ..Known::default() };
    let fault = compiled("FROM base\n", &wishes(&[]), &mut images).unwrap_err();
    assert_eq!((fault.span.unwrap().first, fault.error.to_string().starts_with("ONBUILD FOO: ")), (1, true));
}

#[test]
fn heredocs_are_scripts_or_files() {
    let text = "FROM scratch\nARG X=1\nRUN <<-EOF\n\techo $X\n\tEOF\nRUN <<EOF\n#!/bin/x\n$X\nEOF\nRUN cat <<EOF | y\nz\nEOF\nCOPY <<EOF <<'raw' /d/\n$X\nEOF\n$X\nraw\n";
    let graph = graph(text);
    let steps = &last(&graph).steps;
    let run = |index: usize| match &steps[index].action {
        Action::Run(run) => (run.arguments.last().cloned().unwrap_or_default(), run.script.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(run(0), ("echo $X\n".into(), None));
    assert_eq!(run(1), ("/dev/pipes/EOF".into(), Some(("EOF".into(), "#!/bin/x\n$X\n".into()))));
    assert_eq!(run(2), ("cat <<EOF | y\nz\nEOF".into(), None));
    let Action::Copy(copy) = &steps[3].action else { panic!() };
    let file = |name: &str, content: &str| CopySource::File { name: name.into(), content: content.into() };
    assert_eq!(copy.sources, [file("EOF", "1\n"), file("raw", "$X\n")]);
    assert_eq!(last(&graph).history.last().unwrap().created_by, "COPY <<EOF <<raw /d/ # buildkit");
}

#[test]
fn what_cannot_be_is_named() {
    let wrong = |text: &str| {
        let fault = compiled(text, &wishes(&[]), &mut Known::default()).unwrap_err();
        (fault.span.map_or(0, |span| span.first), fault.error.to_string())
    };
    assert_eq!(wrong("FROM $NONE\n").0, 1);
    assert!(wrong("FROM --platform=x/y/z/w base\n").1.contains("--platform=x/y/z/w"));
    assert!(wrong("FROM base\nCOPY --from=none x /\n").1.starts_with("from=none is no earlier stage"));
    assert!(wrong("FROM base AS a\nCOPY --from=a x /\n").1.contains("that is this stage itself"));
    assert!(wrong("FROM base\nSTOPSIGNAL NONE\n").1.contains("STOPSIGNAL NONE"));
    assert!(wrong("FROM base\nCOPY https://x/y /\n").1.contains("ADD takes URLs"));
    assert!(wrong("FROM base\nRUN --mount=type=bind,from=none,target=/x y\n").1.contains("from=none"));
    assert!(wrong("FROM base\nEXPOSE 9-8\n").1.contains("EXPOSE 9-8"));
    assert!(wrong("FROM base\nENV A=\"${B:?is missing}\"\n").1.contains("B: is missing"));
}

/// What a line costs does not depend on how many stand before it.
#[test]
fn many_variables_take_no_longer() {
    let text = |count: usize| {
        let lines: String = (0..count)
            .map(|number| format!("ENV A{number}=$A0\nARG B{number}=x\nLABEL c{number}=d\n"))
            .collect();
        format!("FROM base\n{lines}")
    };
    let time = |count: usize| {
        let text = text(count);
        let began = clock_gettime(ClockId::ThreadCPUTime);
        let graph = graph(&text);
        assert_eq!(last(&graph).config.config.env.len(), count + 1);
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - began).expect("a time")
    };
    let best = |count: usize| (0..5).map(|_| time(count)).min().expect("a time");
    let (few, many) = (best(1_000), best(16_000));
    assert!(many < few * 64, "{few:?} {many:?}");
}
