/* Written by `make generate` (pyruntime/shim/features.py). */
#pragma once
/* clang-format off */
#define VERSION "0.1.0"
/* The document of `pyruntime features`, before and after whether checkpoints are possible. */
#define FEATURES_BEFORE \
	"{\"annotations\":{\"io.pyruntime.version\":\"0.1.0\",\"org.opencontainers.runc.checkpoint.enabled" \
	"\":\""
#define FEATURES_AFTER \
	"\"},\"hooks\":[\"prestart\",\"createRuntime\",\"createContainer\",\"startContainer\",\"poststart\",\"pos" \
	"tstop\"],\"linux\":{\"apparmor\":{\"enabled\":true},\"capabilities\":[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE" \
	"\",\"CAP_DAC_READ_SEARCH\",\"CAP_FOWNER\",\"CAP_FSETID\",\"CAP_KILL\",\"CAP_SETGID\",\"CAP_SETUID\",\"CA" \
	"P_SETPCAP\",\"CAP_LINUX_IMMUTABLE\",\"CAP_NET_BIND_SERVICE\",\"CAP_NET_BROADCAST\",\"CAP_NET_ADMIN" \
	"\",\"CAP_NET_RAW\",\"CAP_IPC_LOCK\",\"CAP_IPC_OWNER\",\"CAP_SYS_MODULE\",\"CAP_SYS_RAWIO\",\"CAP_SYS_C" \
	"HROOT\",\"CAP_SYS_PTRACE\",\"CAP_SYS_PACCT\",\"CAP_SYS_ADMIN\",\"CAP_SYS_BOOT\",\"CAP_SYS_NICE\",\"CAP" \
	"_SYS_RESOURCE\",\"CAP_SYS_TIME\",\"CAP_SYS_TTY_CONFIG\",\"CAP_MKNOD\",\"CAP_LEASE\",\"CAP_AUDIT_WRIT" \
	"E\",\"CAP_AUDIT_CONTROL\",\"CAP_SETFCAP\",\"CAP_MAC_OVERRIDE\",\"CAP_MAC_ADMIN\",\"CAP_SYSLOG\",\"CAP_" \
	"WAKE_ALARM\",\"CAP_BLOCK_SUSPEND\",\"CAP_AUDIT_READ\",\"CAP_PERFMON\",\"CAP_BPF\",\"CAP_CHECKPOINT_R" \
	"ESTORE\"],\"cgroup\":{\"rdma\":true,\"systemd\":true,\"systemdUser\":true,\"v1\":true,\"v2\":true},\"int" \
	"elRdt\":{\"enabled\":true,\"monitoring\":true,\"schemata\":true},\"memoryPolicy\":{\"flags\":[\"MPOL_F" \
	"_NUMA_BALANCING\",\"MPOL_F_RELATIVE_NODES\",\"MPOL_F_STATIC_NODES\"],\"modes\":[\"MPOL_BIND\",\"MPOL" \
	"_DEFAULT\",\"MPOL_INTERLEAVE\",\"MPOL_LOCAL\",\"MPOL_PREFERRED\",\"MPOL_PREFERRED_MANY\",\"MPOL_WEIG" \
	"HTED_INTERLEAVE\"]},\"mountExtensions\":{\"idmap\":{\"enabled\":true}},\"namespaces\":[\"cgroup\",\"ip" \
	"c\",\"mount\",\"network\",\"pid\",\"time\",\"user\",\"uts\"],\"netDevices\":{\"enabled\":true},\"seccomp\":{\"" \
	"actions\":[\"SCMP_ACT_ALLOW\",\"SCMP_ACT_ERRNO\",\"SCMP_ACT_KILL\",\"SCMP_ACT_KILL_PROCESS\",\"SCMP_" \
	"ACT_KILL_THREAD\",\"SCMP_ACT_LOG\",\"SCMP_ACT_NOTIFY\",\"SCMP_ACT_TRACE\",\"SCMP_ACT_TRAP\"],\"archs" \
	"\":[\"SCMP_ARCH_AARCH64\",\"SCMP_ARCH_ARM\",\"SCMP_ARCH_LOONGARCH64\",\"SCMP_ARCH_M68K\",\"SCMP_ARCH" \
	"_MIPS\",\"SCMP_ARCH_MIPS64\",\"SCMP_ARCH_MIPS64N32\",\"SCMP_ARCH_MIPSEL\",\"SCMP_ARCH_MIPSEL64\",\"S" \
	"CMP_ARCH_MIPSEL64N32\",\"SCMP_ARCH_PARISC\",\"SCMP_ARCH_PARISC64\",\"SCMP_ARCH_PPC\",\"SCMP_ARCH_P" \
	"PC64\",\"SCMP_ARCH_PPC64LE\",\"SCMP_ARCH_RISCV64\",\"SCMP_ARCH_S390\",\"SCMP_ARCH_S390X\",\"SCMP_ARC" \
	"H_SH\",\"SCMP_ARCH_SHEB\",\"SCMP_ARCH_X32\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X86_64\"],\"enabled\":true," \
	"\"knownFlags\":[\"SECCOMP_FILTER_FLAG_LOG\",\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\",\"SECCOMP_FILTER_F" \
	"LAG_TSYNC\",\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],\"operators\":[\"SCMP_CMP_EQ\",\"SCMP_CMP_" \
	"GE\",\"SCMP_CMP_GT\",\"SCMP_CMP_LE\",\"SCMP_CMP_LT\",\"SCMP_CMP_MASKED_EQ\",\"SCMP_CMP_NE\"],\"support" \
	"edFlags\":[\"SECCOMP_FILTER_FLAG_LOG\",\"SECCOMP_FILTER_FLAG_SPEC_ALLOW\",\"SECCOMP_FILTER_FLAG_" \
	"TSYNC\",\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]},\"selinux\":{\"enabled\":true}},\"mountOption" \
	"s\":[\"async\",\"atime\",\"bind\",\"defaults\",\"dev\",\"diratime\",\"dirsync\",\"exec\",\"idmap\",\"iversion\"" \
	",\"lazytime\",\"loud\",\"mand\",\"noatime\",\"nodev\",\"nodiratime\",\"noexec\",\"noiversion\",\"nolazytime" \
	"\",\"nomand\",\"norelatime\",\"nostrictatime\",\"nosuid\",\"nosymfollow\",\"private\",\"ratime\",\"rbind\"," \
	"\"rdev\",\"rdiratime\",\"relatime\",\"remount\",\"rexec\",\"ridmap\",\"rnoatime\",\"rnodev\",\"rnodiratime\"" \
	",\"rnoexec\",\"rnorelatime\",\"rnostrictatime\",\"rnosuid\",\"rnosymfollow\",\"ro\",\"rprivate\",\"rrelat" \
	"ime\",\"rro\",\"rrw\",\"rshared\",\"rslave\",\"rstrictatime\",\"rsuid\",\"rsymfollow\",\"runbindable\",\"rw\"" \
	",\"shared\",\"silent\",\"slave\",\"strictatime\",\"suid\",\"symfollow\",\"sync\",\"tmpcopyup\",\"unbindable" \
	"\"],\"ociVersionMax\":\"1.3.0\",\"ociVersionMin\":\"1.0.0\",\"potentiallyUnsafeConfigAnnotations\":[\"" \
	"org.systemd.property.\",\"org.criu.config\"]}"
/* clang-format on */
