use rustix::process::Uid;

use super::Availability::{No, Partly, Yes};
use super::cgroup::{controllers, count_v1};
use super::kernel::parse_release;
use super::namespace::{Limits, judge_limits};
use super::privilege::{parse_ranges, user_name};
use super::{Finding, can_run};

#[test]
fn releases() {
    assert_eq!(parse_release("6.12.5-amd64"), Some((6, 12)));
    assert_eq!(parse_release("5.4-rc1"), Some((5, 4)));
    assert_eq!(parse_release("7.0"), Some((7, 0)));
    for release in ["", "six.one", "6", "6.", "99999999999.1"] {
        assert_eq!(parse_release(release), None, "{release}");
    }
}

#[test]
fn ranges_by_name_and_number() {
    let text = "alice:100000:65536\n1000:200000:10\nbob:1:1\nalice:5\nalice:x:y\n\nalice:300000:1:extra\n";
    assert_eq!(
        parse_ranges(text, Uid::from_raw(1000), Some("alice")),
        [(100_000, 65_536), (200_000, 10), (300_000, 1)]
    );
    assert_eq!(parse_ranges(text, Uid::from_raw(7), None), []);
}

#[test]
fn names_of_users() {
    let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nalice:x:1000:1000::/:/bin/sh\n";
    assert_eq!(user_name(passwd, Uid::from_raw(1000)), Some("alice"));
    assert_eq!(user_name(passwd, Uid::from_raw(1)), None);
}

#[test]
fn hierarchies_of_cgroup_v1() {
    let hybrid = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw shared:3 - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
broken";
    assert_eq!((count_v1(hybrid.as_bytes()), count_v1(b"")), (1, 0));
}

#[test]
fn missing_controllers() {
    assert_eq!(controllers("cpuset cpu io memory hugetlb pids rdma misc", 0).available, Yes);
    assert_eq!(controllers("", 9).available, No);
    let some = controllers("cpu memory", 0);
    assert_eq!(
        (some.available, &*some.detail),
        (Partly, "cpu memory; missing: cpuset, pids, io, hugetlb, rdma")
    );
}

#[test]
fn limits_of_user_namespaces() {
    let judge = |maximum: &str, clone: Option<&str>, apparmor: Option<&str>| {
        let own = |text: &str| Some(text.to_string());
        judge_limits(&Limits {
            maximum: own(maximum),
            clone: clone.and_then(own),
            apparmor: apparmor.and_then(own),
        })
    };
    assert_eq!(judge("100", Some("1"), Some("0")).available, Yes);
    assert_eq!(judge("0", None, None).available, No);
    assert!(judge("100", Some("0"), None).remedy.contains("kernel.unprivileged_userns_clone=1"));
    assert!(judge("100", None, Some("1")).remedy.contains("AppArmor"));
    assert_eq!(judge_limits(&Limits::default()).detail, "");
}

#[test]
fn only_what_is_required_keeps_containers_from_running() {
    let absent = Finding::yes("a", "").missing(No, "c", "r");
    assert!(can_run(&[absent.clone(), Finding::yes("b", "").required()]));
    assert!(!can_run(&[absent.required()]));
}
