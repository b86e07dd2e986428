//! Where the hosts of registries are.

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::error::{Error, Kind};

/// The machine's own look-up of names.
#[derive(Debug, Default)]
pub struct HostNames(DefaultResolver);

impl Resolver for HostNames {
    fn resolve(
        &self,
        url: &Uri,
        configuration: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(url, configuration, timeout).map_err(|error| match error {
            // The standard library has no kind for it: later on nobody could tell it from other errors.
            ureq::Error::Io(error) => {
                let error = Error::new(Kind::Host, format!("{error} (is there a network, and DNS?)"));
                ureq::Error::Io(std::io::Error::other(error))
            }
            error => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use ureq::Agent;
    use ureq::unversioned::transport::DefaultConnector;

    use super::*;

    #[test]
    fn a_name_that_leads_nowhere_has_a_hint() {
        let configuration = Agent::config_builder().build();
        let agent = Agent::with_parts(configuration, DefaultConnector::default(), HostNames::default());
        // No server is asked for a name with a part of more than 63 letters.
        let error = match agent.get(format!("http://{}.invalid/", "a".repeat(64))).call() {
            Err(ureq::Error::Io(error)) => Error::from(error),
            other => panic!("{other:?}"),
        };
        assert_eq!(error.kind(), Kind::Host);
        assert!(error.to_string().ends_with(" (is there a network, and DNS?)"), "{error}");
    }
}
