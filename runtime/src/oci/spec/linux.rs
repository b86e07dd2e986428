//! `linux`: namespaces, devices, resources, seccomp and other things that only Linux has.

use super::json::{List, Map, Text};
use super::mounts::IdMapping;
use super::object::object;

object! {
    /// The Linux part of the document.
    Linux<'a> {
        "uidMappings" => uid_mappings: List<IdMapping>,
        "gidMappings" => gid_mappings: List<IdMapping>,
        "sysctl" => sysctl: Map<'a, Text<'a>>,
        "resources" => resources: Option<Resources<'a>>,
        "cgroupsPath" => cgroups_path: Option<Text<'a>>,
        "namespaces" => namespaces: List<Namespace<'a>>,
        "devices" => devices: List<Device<'a>>,
        "netDevices" => net_devices: Map<'a, NetDevice<'a>>,
        "seccomp" => seccomp: Option<Seccomp<'a>>,
        "rootfsPropagation" => rootfs_propagation: Option<Text<'a>>,
        "maskedPaths" => masked_paths: List<Text<'a>>,
        "readonlyPaths" => readonly_paths: List<Text<'a>>,
        "mountLabel" => mount_label: Option<Text<'a>>,
        "intelRdt" => intel_rdt: Option<IntelRdt<'a>>,
        "memoryPolicy" => memory_policy: Option<MemoryPolicy<'a>>,
        "personality" => personality: Option<Personality<'a>>,
        "timeOffsets" => time_offsets: Map<'a, TimeOffset>,
    }
}

object! {
    /// A namespace to make or, if it has a path, to join.
    Namespace<'a> {
        "type" required => kind: Text<'a>,
        "path" => path: Option<Text<'a>>,
    }
}

object! {
    /// A device node to make.
    Device<'a> {
        "type" required => kind: Text<'a>,
        "path" => path: Text<'a>,
        "major" => major: Option<i64>,
        "minor" => minor: Option<i64>,
        "fileMode" => file_mode: Option<u32>,
        "uid" => uid: Option<u32>,
        "gid" => gid: Option<u32>,
    }
}

object! {
    /// A network interface of the host that is moved into the container.
    NetDevice<'a> {
        "name" => name: Option<Text<'a>>,
    }
}

object! {
    /// Offset of a clock in a time namespace.
    TimeOffset {
        "secs" => secs: i64,
        "nanosecs" => nanosecs: u32,
    }
}

object! {
    /// cgroup limits; also the document that `update --resources` takes.
    Resources<'a> {
        "devices" => devices: List<DeviceRule<'a>>,
        "memory" => memory: Option<Memory>,
        "cpu" => cpu: Option<Cpu<'a>>,
        "pids" => pids: Option<Pids>,
        "blockIO" => block_io: Option<BlockIo>,
        "hugepageLimits" => hugepage_limits: List<HugepageLimit<'a>>,
        "network" => network: Option<Network<'a>>,
        "rdma" => rdma: Map<'a, Rdma>,
        "unified" => unified: Map<'a, Text<'a>>,
    }
}

object! {
    /// One rule of the device list; an absent number means all.
    DeviceRule<'a> {
        "allow" required => allow: bool,
        "type" => kind: Option<Text<'a>>,
        "major" => major: Option<i64>,
        "minor" => minor: Option<i64>,
        "access" => access: Option<Text<'a>>,
    }
}

object! {
    /// Memory limits in bytes.
    Memory {
        "limit" => limit: Option<i64>,
        "reservation" => reservation: Option<i64>,
        "swap" => swap: Option<i64>,
        "kernel" => kernel: Option<i64>,
        "kernelTCP" => kernel_tcp: Option<i64>,
        "swappiness" => swappiness: Option<u64>,
        "disableOOMKiller" => disable_oom_killer: Option<bool>,
        "useHierarchy" => use_hierarchy: Option<bool>,
        "checkBeforeUpdate" => check_before_update: Option<bool>,
    }
}

object! {
    /// CPU time; quota, period, burst and the realtime pair are in microseconds.
    Cpu<'a> {
        "shares" => shares: Option<u64>,
        "quota" => quota: Option<i64>,
        "burst" => burst: Option<u64>,
        "period" => period: Option<u64>,
        "realtimeRuntime" => realtime_runtime: Option<i64>,
        "realtimePeriod" => realtime_period: Option<u64>,
        "cpus" => cpus: Option<Text<'a>>,
        "mems" => mems: Option<Text<'a>>,
        "idle" => idle: Option<i64>,
    }
}

object! {
    /// The maximum number of tasks.
    Pids {
        "limit" => limit: Option<i64>,
    }
}

object! {
    /// Block device weights and rates.
    BlockIo {
        "weight" => weight: Option<u16>,
        "leafWeight" => leaf_weight: Option<u16>,
        "weightDevice" => weight_device: List<WeightDevice>,
        "throttleReadBpsDevice" => throttle_read_bps_device: List<ThrottleDevice>,
        "throttleWriteBpsDevice" => throttle_write_bps_device: List<ThrottleDevice>,
        "throttleReadIOPSDevice" => throttle_read_iops_device: List<ThrottleDevice>,
        "throttleWriteIOPSDevice" => throttle_write_iops_device: List<ThrottleDevice>,
    }
}

object! {
    /// A weight (10 to 1000) for one device.
    WeightDevice {
        "major" required => major: i64,
        "minor" required => minor: i64,
        "weight" => weight: Option<u16>,
        "leafWeight" => leaf_weight: Option<u16>,
    }
}

object! {
    /// A rate for one device, in bytes or operations per second.
    ThrottleDevice {
        "major" required => major: i64,
        "minor" required => minor: i64,
        "rate" required => rate: u64,
    }
}

object! {
    /// A limit in bytes for one size of huge pages (`2MB`).
    HugepageLimit<'a> {
        "pageSize" required => page_size: Text<'a>,
        "limit" required => limit: u64,
    }
}

object! {
    /// net_cls and net_prio, which cgroup v2 does not have.
    Network<'a> {
        "classID" => class_id: Option<u32>,
        "priorities" => priorities: List<NetworkPriority<'a>>,
    }
}

object! {
    /// A priority for one interface.
    NetworkPriority<'a> {
        "name" required => name: Text<'a>,
        "priority" required => priority: u32,
    }
}

object! {
    /// Limits of one RDMA device.
    Rdma {
        "hcaHandles" => hca_handles: Option<u32>,
        "hcaObjects" => hca_objects: Option<u32>,
    }
}

object! {
    /// A seccomp profile.
    Seccomp<'a> {
        "defaultAction" required => default_action: Text<'a>,
        "defaultErrnoRet" => default_errno_ret: Option<u32>,
        "architectures" => architectures: List<Text<'a>>,
        /// Absent and empty differ: absent means `SECCOMP_FILTER_FLAG_SPEC_ALLOW`.
        "flags" => flags: Option<List<Text<'a>>>,
        "listenerPath" => listener_path: Option<Text<'a>>,
        "listenerMetadata" => listener_metadata: Option<Text<'a>>,
        "syscalls" => syscalls: List<Syscall<'a>>,
    }
}

object! {
    /// One rule: the action for these calls under these conditions.
    Syscall<'a> {
        "names" required => names: List<Text<'a>>,
        "action" required => action: Text<'a>,
        "errnoRet" => errno_ret: Option<u32>,
        "args" => args: List<SyscallArg<'a>>,
    }
}

object! {
    /// A condition on one argument (`index` 0 to 5).
    SyscallArg<'a> {
        "index" required => index: u32,
        "value" required => value: u64,
        "valueTwo" => value_two: u64,
        "op" required => op: Text<'a>,
    }
}

object! {
    /// resctrl.
    IntelRdt<'a> {
        "closID" => clos_id: Option<Text<'a>>,
        "l3CacheSchema" => l3_cache_schema: Option<Text<'a>>,
        "memBwSchema" => mem_bw_schema: Option<Text<'a>>,
        "schemata" => schemata: List<Text<'a>>,
        "enableMonitoring" => enable_monitoring: bool,
    }
}

object! {
    /// set_mempolicy(2).
    MemoryPolicy<'a> {
        "mode" required => mode: Text<'a>,
        "nodes" => nodes: Text<'a>,
        "flags" => flags: List<Text<'a>>,
    }
}

object! {
    /// personality(2).
    Personality<'a> {
        "domain" required => domain: Text<'a>,
        "flags" => flags: List<Text<'a>>,
    }
}
