//! Which handler a request is for. A star stands for one part of the path, two stars for one or more; as a method, for any.

use super::daemon::Daemon;
use super::exchange::{API_VERSION, API_VERSION_MIN, Exchange, Reply};
use super::fault::{Fault, Form, Outcome};
use super::{build, container, disk, event, exec, image, metrics, network, swarm, system, volume};

type Handler = fn(&Daemon, &mut Exchange<'_>) -> Outcome<Reply>;

/// All of them.
const ROUTES: &[(&str, &str, Handler)] = &[
    ("GET", "/_ping", system::ping),
    ("HEAD", "/_ping", system::ping),
    ("GET", "/version", system::version),
    ("GET", "/info", system::info),
    ("POST", "/containers/create", container::create),
    ("GET", "/containers/json", container::list),
    ("GET", "/containers/*/json", container::inspect),
    ("POST", "/containers/*/start", container::start),
    ("POST", "/containers/*/stop", container::stop),
    ("POST", "/containers/*/restart", container::restart),
    ("POST", "/containers/*/kill", container::kill),
    ("POST", "/containers/*/pause", container::pause),
    ("POST", "/containers/*/unpause", container::unpause),
    ("POST", "/containers/*/rename", container::rename),
    ("POST", "/containers/*/resize", container::resize),
    ("POST", "/containers/*/wait", container::wait),
    ("POST", "/containers/*/attach", container::attach),
    ("GET", "/containers/*/attach/ws", container::attach_by_web_socket),
    ("GET", "/containers/*/logs", container::logs),
    ("GET", "/containers/*/top", container::top),
    ("GET", "/containers/*/stats", container::stats),
    ("POST", "/containers/*/update", container::update),
    ("GET", "/containers/*/changes", container::changes),
    ("GET", "/containers/*/export", container::export),
    ("GET", "/containers/*/archive", container::get_archive),
    ("HEAD", "/containers/*/archive", container::head_archive),
    ("PUT", "/containers/*/archive", container::put_archive),
    ("POST", "/containers/prune", container::prune),
    ("POST", "/commit", image::commit),
    ("DELETE", "/containers/*", container::remove),
    ("POST", "/containers/*/exec", exec::create),
    ("POST", "/exec/*/start", exec::start),
    ("POST", "/exec/*/resize", exec::resize),
    ("GET", "/exec/*/json", exec::inspect),
    ("POST", "/images/create", image::create),
    ("GET", "/images/json", image::list),
    ("GET", "/images/search", image::search),
    ("GET", "/images/get", image::save),
    ("POST", "/images/load", image::load),
    ("POST", "/images/prune", image::prune),
    ("GET", "/images/**/json", image::inspect),
    ("GET", "/images/**/history", image::history),
    ("GET", "/images/**/get", image::save_one),
    ("POST", "/images/**/push", image::push),
    ("POST", "/images/**/tag", image::tag),
    ("DELETE", "/images/**", image::remove),
    ("POST", "/auth", image::auth),
    ("GET", "/distribution/**/json", image::distribution),
    ("GET", "/networks", network::list),
    ("POST", "/networks/create", network::create),
    ("POST", "/networks/prune", network::prune),
    ("GET", "/networks/*", network::inspect),
    ("DELETE", "/networks/*", network::remove),
    ("POST", "/networks/*/connect", network::connect),
    ("POST", "/networks/*/disconnect", network::disconnect),
    ("GET", "/volumes", volume::list),
    ("POST", "/volumes/create", volume::create),
    ("POST", "/volumes/prune", volume::prune),
    ("GET", "/volumes/*", volume::inspect),
    ("DELETE", "/volumes/*", volume::remove),
    ("GET", "/events", event::events),
    ("GET", "/system/df", disk::usage_of_all),
    ("POST", "/build", build::build),
    ("POST", "/build/prune", build::prune),
    ("POST", "/build/cancel", build::cancel),
    ("POST", "/grpc", build::grpc),
    ("POST", "/session", build::session),
    ("GET", "/metrics", metrics::metrics),
    ("GET", "/plugins", swarm::no_plugins),
    ("GET", "/plugins/privileges", swarm::no_plugins_here),
    ("POST", "/plugins/pull", swarm::no_plugins_here),
    ("POST", "/plugins/create", swarm::no_plugins_here),
    ("*", "/plugins/**/json", swarm::no_plugin),
    ("POST", "/plugins/**/*", swarm::no_plugin),
    ("DELETE", "/plugins/**", swarm::no_plugin),
    ("*", "/containers/*/checkpoints", swarm::no_checkpoints),
    ("*", "/containers/*/checkpoints/*", swarm::no_checkpoints),
    ("POST", "/swarm/init", swarm::no_swarms_here),
    ("POST", "/swarm/join", swarm::no_swarms_here),
    ("POST", "/swarm/leave", swarm::not_part),
    ("POST", "/swarm/unlock", swarm::not_part),
    ("PUT", "/volumes/*", swarm::refuse),
    ("*", "/swarm", swarm::refuse),
    ("*", "/swarm/*", swarm::refuse),
    ("*", "/nodes", swarm::refuse),
    ("*", "/nodes/**", swarm::refuse),
    ("*", "/services", swarm::refuse),
    ("*", "/services/**", swarm::refuse),
    ("*", "/tasks", swarm::refuse),
    ("*", "/tasks/**", swarm::refuse),
    ("*", "/secrets", swarm::refuse),
    ("*", "/secrets/**", swarm::refuse),
    ("*", "/configs", swarm::refuse),
    ("*", "/configs/**", swarm::refuse),
];

/// Answers a request.
///
/// # Errors
/// There is no such path; what its handler says.
pub fn handle(daemon: &Daemon, exchange: &mut Exchange<'_>) -> Outcome<Reply> {
    if let Some(version) = &exchange.head.version {
        check_version(version)?;
    }
    let (handler, parameters) =
        find(&exchange.head.method, &exchange.head.path).ok_or_else(Fault::no_page)?;
    exchange.parameters = parameters;
    handler(daemon, exchange)
}

fn find(method: &str, path: &str) -> Option<(Handler, Vec<String>)> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    ROUTES.iter().filter(|(known, ..)| [method, "*"].contains(known)).find_map(|(_, pattern, handler)| {
        let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
        Some((*handler, matched(&pattern, &parts)?))
    })
}

/// What stands in place of the stars; `None` if it does not fit.
fn matched(pattern: &[&str], parts: &[&str]) -> Option<Vec<String>> {
    match (pattern, parts) {
        ([], []) => Some(Vec::new()),
        (["**", rest @ ..], _) => {
            let length = parts.len().checked_sub(rest.len()).filter(|length| *length > 0)?;
            let (name, others) = parts.split_at(length);
            let found = vec![name.join("/")];
            (!found[0].is_empty()).then(|| Some([found, matched(rest, others)?].concat()))?
        }
        (["*", rest @ ..], [part, others @ ..]) if !part.is_empty() => {
            Some([vec![part.to_string()], matched(rest, others)?].concat())
        }
        ([known, rest @ ..], [part, others @ ..]) if known == part => matched(rest, others),
        _ => None,
    }
}

fn check_version(text: &str) -> Outcome<()> {
    let parse = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let version = parse(text).ok_or_else(Fault::no_page)?;
    if Some(version) < parse(API_VERSION_MIN) {
        // Who is that old may know no document.
        return Err(Fault::invalid(format!(
            "client version {text} is too old. Minimum supported API version is {API_VERSION_MIN}, please upgrade your client to a newer version"
        ))
        .with_form(Form::Line));
    }
    match Some(version) > parse(API_VERSION) {
        true => Err(Fault::invalid(format!(
            "client version {text} is too new. Maximum supported API version is {API_VERSION}"
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_handlers() {
        let parameters = |method: &str, path: &str| find(method, path).map(|(_, parameters)| parameters);
        assert_eq!(parameters("GET", "/_ping"), Some(vec![]));
        assert_eq!(parameters("GET", "/containers/json"), Some(vec![]));
        assert_eq!(parameters("GET", "/containers/web/json"), Some(vec!["web".to_string()]));
        assert_eq!(parameters("DELETE", "/services/one"), Some(vec!["one".to_string()]));
        for (method, path) in
            [("PUT", "/_ping"), ("GET", "/containers//json"), ("GET", "/"), ("GET", ""), ("GET", "/_ping/")]
        {
            assert_eq!(parameters(method, path), None, "{path}");
        }
        let matched = |pattern: &str, path: &str| {
            matched(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
        };
        assert_eq!(matched("images/**/json", "images/a:5/b/c/json"), Some(vec!["a:5/b/c".to_string()]));
        assert_eq!(matched("images/**/json", "images/json"), None);
        assert_eq!(matched("images/**", "images/"), None);
    }

    #[test]
    fn versions_have_bounds() {
        assert!(check_version("1.24").is_ok() && check_version("1.51").is_ok());
        let text = |version| check_version(version).unwrap_err().message().to_string();
        assert!(
            text("1.20")
                .starts_with("client version 1.20 is too old. Minimum supported API version is 1.24, ")
        );
        assert_eq!(text("1.99"), "client version 1.99 is too new. Maximum supported API version is 1.51");
        assert_eq!(text("1.5.1"), "page not found");
    }
}
