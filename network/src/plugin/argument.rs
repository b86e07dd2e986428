//! What callers say in CNI_ARGS.

use super::failure::{self, Result, failed};
use crate::cni::parse_args;

/// Variables of CNI_ARGS.
#[derive(Default)]
pub(super) struct Arguments<'a> {
    pub ips: Option<&'a str>,
    pub gateways: Option<&'a str>,
    pub mac: Option<&'a str>,
}

impl<'a> Arguments<'a> {
    pub fn parse(text: &'a str) -> Result<Arguments<'a>> {
        let mut arguments = Arguments::default();
        let (mut unknown, mut ignores_unknown) = (None, false);
        for (key, value) in
            parse_args(text).map_err(|error| failure::Failure::new(failure::ENVIRONMENT, error))?
        {
            match key {
                "IP" => arguments.ips = Some(value),
                "GATEWAY" => arguments.gateways = Some(value),
                "MAC" => arguments.mac = Some(value),
                "IgnoreUnknown" => ignores_unknown = value == "1" || value.eq_ignore_ascii_case("true"),
                _ => unknown = Some((key, value)),
            }
        }
        match unknown.filter(|_| !ignores_unknown) {
            None => Ok(arguments),
            Some((key, value)) => Err(failed(
                failure::ENVIRONMENT,
                format_args!("CNI_ARGS: {key}={value}: unknown: IgnoreUnknown=1 lets that pass"),
            )),
        }
    }
}
