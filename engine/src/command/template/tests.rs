use super::*;
use serde_json::json;

fn row() -> Value {
    json!({
        "ID": "1",
        "Name": "two words",
        "State": {"Pid": 7, "Running": true},
        "Args": ["a", "b"],
        "Networks": {"one": {"IP": "10.0.0.2"}, "two": {"IP": ""}},
        "Labels": {"com.example/x": "y"},
        "Label": {"com.docker.compose.project": "web"},
    })
}

fn show(text: &str) -> String {
    parse(text).and_then(|parts| fill(&parts, &row())).unwrap_or_else(|error| error.to_string())
}

#[test]
fn templates_of_docker() {
    assert_eq!(show("{{.ID}}: {{ .State.Pid }} {{json .State}}"), "1: 7 {\"Pid\":7,\"Running\":true}");
    assert_eq!(show("{{range .Networks}}{{.IP}};{{end}}"), "10.0.0.2;;");
    assert_eq!(show("{{range $name, $net := .Networks}}{{$name}}={{$net.IP}} {{end}}"), "one=10.0.0.2 two= ");
    assert_eq!(show("{{index .Labels \"com.example/x\"}}{{index .Labels `none`}}"), "y");
    assert_eq!(show("{{index .Args 1}} {{len .Args}} {{join .Args \",\"}} {{.Args}}"), "b 2 a,b [a b]");
    assert_eq!(show("{{if .State.Running}}up{{else}}down{{end}}"), "up");
    assert_eq!(show("{{if eq .ID \"2\"}}two{{else if (eq .ID \"1\")}}one{{end}}"), "one");
    assert_eq!(show("{{range .Args -}}  {{upper . | println}}{{- end}}{{$.ID}}"), "A\nB\n1");
    assert_eq!(
        show("{{with .State}}{{.Pid}}{{end}}{{with .Labels.x}}{{else}}-{{end}}"),
        "there is no field x: there are com.example/x"
    );
    assert_eq!(show("{{with .State}}{{.Pid}}{{end}}{{with index .Labels \"x\"}}{{else}}-{{end}}"), "7-");
    assert_eq!(show("{{(index .Networks \"one\").IP}} {{(.State).Pid}} {{((.State)).Pid}}"), "10.0.0.2 7 7");
    assert_eq!(show("{{json (index (split .Name \" \") 0)}}{{len (split \"a).b\" \").\")}}"), "\"two\"2");
    assert_eq!(show("{{/* nothing */}}{{json \"}}|\" }}"), "\"}}|\"");
    assert_eq!(show("{{.Label \"com.docker.compose.project\"}}{{.Label \"none\"}}"), "web");
}

#[test]
fn names_for_values() {
    assert_eq!(show("{{$s := .State}}{{$s.Pid}}{{range .Args}}{{$s.Pid}}{{end}}"), "777");
    assert_eq!(show("{{$last := \"\"}}{{range .Args}}{{$last = .}}{{end}}{{$last}}"), "b");
    assert_eq!(show("{{with $s := .State}}{{$s.Pid}}{{.Pid}}{{end}}"), "77");
    assert_eq!(show("{{if $x := index .Labels \"none\"}}{{$x}}{{else}}-{{$x}}{{end}}"), "-");
    assert_eq!(show("{{range split \"a:=b\" \":=\"}}{{.}},{{end}}"), "a,b,");
    assert_eq!(show("{{if .ID}}{{$x := 1}}{{end}}{{$x}}"), "$x: there is no such variable");
    assert_eq!(show("{{$x = 1}}"), "$x: there is no such variable");
    assert_eq!(show("{{$x, $y := .State}}"), "{{$x, $y := .State}}: two names are those of range");
    assert_eq!(show("{{$x.y := .State}}"), ":=: not a field and not a function");
}

#[test]
fn what_does_not_decide_is_not_looked_at() {
    assert_eq!(show("{{if and .State.Running (eq .ID \"1\")}}yes{{end}}"), "yes");
    assert_eq!(show("{{and false .None}}{{or .ID .None}}"), "false1");
    assert!(show("{{and true .None}}").starts_with("there is no field None"));
}

#[test]
fn what_dockers_documents_may_lack_is_nothing() {
    let show = |text: &str| {
        let state = json!({"State": {"ExitCode": 0}, "Labels": {}, "Mounts": [{"Destination": "/a"}]});
        parse(text).and_then(|parts| fill(&parts, &state)).unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(show("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}"), "none");
    assert_eq!(show("{{json .State.Health}}{{.StopSignal}}{{range .Mounts}}{{.Name}}{{end}}"), "null");
    assert_eq!(show("{{.State.Health.Status}}"), "there is no field Status: there are none");
    for wrong in ["{{.Name}}", "{{.State.Healthy}}", "{{.Health}}"] {
        assert!(show(wrong).starts_with("there is no field "), "{wrong}");
    }
}

#[test]
fn functions_of_docker() {
    assert_eq!(show("{{title .Name}} {{lower \"ABC\"}} {{split .Name \" \"}}"), "Two Words abc [two words]");
    assert_eq!(
        show("[{{pad .ID 1 2}}] [{{truncate .Name 5}}] {{(index (split .Name \" \") 1)}}"),
        "[ 1  ] [two w] words"
    );
    assert_eq!(
        show("{{printf \"%-5s|%5d|%q|%v|%%|%03d\" .ID .State.Pid .Name .Args 7}}"),
        "1    |    7|\"two words\"|[a b]|%|007"
    );
    assert_eq!(
        show("{{println .ID \"x\"}}{{print .ID 2}}{{gt .State.Pid 6}}{{slice .Name 4 6}}"),
        "1 x\n1 2truewo"
    );
    assert_eq!(show("{{printf \"%.3s|%6.2s|%.1f\" .Name .Name 1.25}}"), "two|    tw|1.2");
    assert_eq!(show("{{printf \"%d\" .Name}}"), "printf: %d: \"two words\" is no number");
}

#[test]
fn heads_are_the_names_of_columns() {
    let heads = |text: &str| fill_heads(&parse(text).unwrap(), &json!({"ID": "CONTAINER ID"})).unwrap();
    assert_eq!(
        heads("{{.ID}}\t{{upper .Status}}\t{{.Label \"com.example.my-name\"}}"),
        "CONTAINER ID\tSTATUS\tmy name"
    );
    assert_eq!(heads("{{json .ID}}{{range .Names}}{{.}}{{end}}"), "CONTAINER ID");
    let cells = fill_cells(&parse("{{.A}}\t{{.B}}").unwrap(), &json!({"A": "a\tb", "B": "c\nd"}));
    assert_eq!(cells.unwrap(), "a\\tb\tc\\nd");
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(
        show("{{.None}}"),
        "there is no field None: there are Args, ID, Labels, Name, Networks, State"
    );
    assert_eq!(show("{{.State.Pid.x}}"), "there is no field x: there are none");
    assert_eq!(show("{{.ID"), "a }} is missing");
    assert_eq!(show("{{range .Args}}"), "{{end}} is missing");
    assert_eq!(show("{{end}}"), "{{end}} without a beginning");
    assert!(
        show("{{twist .ID}}")
            .starts_with("twist: there are fields such as {{.ID}}, and range, if, with, json")
    );
    assert!(show("{{template \"x\"}}").starts_with("template: there are fields"));
    assert!(show("{{break}}").starts_with("break: there are fields"));
    assert_eq!(show("{{(.State).None}}"), "there is no field None: there are Pid, Running");
    assert_eq!(show("{{(.State)x}}"), "{{(.State)x}}: must be one value, or a function with values");
    assert_eq!(show("{{index .Args}}"), "{{index .Args}}: a value is missing");
    assert_eq!(show("{{.ID .ID}}"), "{{.ID .ID}}: must be one value, or a function with values");
    assert_eq!(show("{{$x}}"), "$x: there is no such variable");
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let deep = "nested deeper than 100 levels";
    let cases = [
        format!("{}{}", "{{if .ID}}".repeat(50_000), "{{end}}".repeat(50_000)),
        format!("{{{{if .ID}}}}{}{{{{end}}}}", "{{else if .ID}}".repeat(50_000)),
        format!("{{{{{}.ID{}}}}}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{{{{.ID{}}}}}", "|upper".repeat(50_000)),
        format!("{{{{{}", "(".repeat(50_000)),
    ];
    for text in cases {
        assert!(show(&text).contains(deep) || show(&text).contains("is missing"), "{}", &text[..40]);
    }
}
