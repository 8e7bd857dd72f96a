#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Run a command in a virtual machine on a stock kernel, with kaus.ko loaded.
# See usage().
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/tests/vm

usage() {
	cat <<'END'
usage: tests/vm/run.sh [OPTION]... -- COMMAND [ARG]...
       tests/vm/run.sh [OPTION]... --shell

One ARG alone is a line of shell, several are a program and its arguments.
The guest sees, under the same absolute paths as here, every file named in the
command, every --add, and the shared libraries they need. Its working directory
has the name of the current one, /tmp is empty, it runs as root with busybox.

  --kernel 6.1|6.12|6.12-rt|debug-kasan|debug-kcsan|FILE
                      which kernel (6.12); a FILE is a vmlinuz
  --modules DIR       lib/modules/VERSION belonging to a kernel FILE
  --ko FILE           the module (build/kmod/VERSION/kaus.ko if that exists)
  --module            an error if there is none
  --no-module         do not load it
  --module-args ARGS  parameters for it
  --cpus N            virtual CPUs (2)
  --mem MB            memory (1024)
  --one-thread        all CPUs in one host thread: slower, see below;
                      KAUS_VM_ONE_THREAD=1 in the guest's environment
  --wake S            send a character every S seconds, which wakes a guest that
                      sleeps; KAUS_VM_WAKE=1 in the guest's environment
  --icount            one CPU, time counted in instructions: repeatable;
                      KAUS_ICOUNT=1 in the guest's environment
  --kvm               try KVM, fall back to emulation if the guest stays silent
  --timeout S         give up after so many seconds (300)
  --debug-args ARGS   more kernel arguments
  --disk[=MB]         a virtio disk with ext4 on /data (256)
  --load NAME         load a module of the kernel, with those it needs
  --add HOST[:GUEST]  put a file or a directory into the guest
  --log FILE          keep the console log there
  --shell             a shell on this terminal

Exit status: that of COMMAND; 1 if the guest panicked, hung or said nothing;
123 if COMMAND succeeded but the kernel log has warnings; 124 if it succeeded
but the module would not unload; 125 if the guest could not be set up.
QEMU before 8.1 may run code that another CPU has just changed. What loads and
unloads modules in a loop, which switches static keys of the scheduler, crashes
or hangs the guest that way ("Oops: int3"); with --one-thread it cannot.
KAUS_VM_KVM=1 in the environment is --kvm.
END
}

die() {
	echo "vm/run.sh: $*" >&2
	exit 125
}

kernel=6.12 modules='' ko='' module='' no_module='' module_args='' cpus=2 mem=1024
icount='' thread=multi kvm=${KAUS_VM_KVM:-} timeout=300 append='' disk='' log='' shell='' wants='' wake=''
adds=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=$2; shift ;;
	--modules) modules=$2; shift ;;
	--ko) ko=$2; shift ;;
	--module) module=1 ;;
	--no-module) no_module=1 ;;
	--module-args) module_args=$2; shift ;;
	--cpus) cpus=$2; shift ;;
	--mem) mem=$2; shift ;;
	--one-thread) thread=single ;;
	--wake) wake=$2; shift ;;
	--icount) icount=1 ;;
	--kvm) kvm=1 ;;
	--timeout) timeout=$2; shift ;;
	--debug-args) append=$2; shift ;;
	--disk) disk=256 ;;
	--disk=*) disk=${1#--disk=} ;;
	--load) wants="$wants $2"; shift ;;
	--add) adds+=("$2"); shift ;;
	--log) log=$2; shift ;;
	--shell) shell=1 ;;
	-h | --help) usage; exit 0 ;;
	--) shift; break ;;
	*) usage >&2; exit 125 ;;
	esac
	shift
done
[ "$shell" ] || [ $# -gt 0 ] || { usage >&2; exit 125; }

case $kernel in
6.*[!0-9]/* | */*)
	vmlinuz=$kernel
	[ "$modules" ] && version=$(basename "$modules") || version=custom
	;;
*)
	found=$("$top/tools/kernels.sh" "$kernel") || exit 125
	read -r version vmlinuz modules <<<"$found"
	;;
esac
[ -r "$vmlinuz" ] || die "cannot read $vmlinuz"
if [ -z "$no_module" ]; then
	if [ -z "$ko" ]; then
		ko=$top/build/kmod/$version/kaus.ko
		if [ ! -f "$ko" ]; then
			[ -z "$module" ] || die "no $ko"
			echo "vm/run.sh: no kaus.ko for $version, going on without" >&2
			ko=
		fi
	fi
	[ -z "$ko" ] || [ -f "$ko" ] || die "no file $ko"
else
	ko=
fi

mkdir -p "$top/build/vm"
tmp=$(mktemp -d "$top/build/vm/run.XXXXXX")
qemu_pid=
cleanup() {
	[ -z "$qemu_pid" ] || kill "$qemu_pid" 2>/dev/null || :
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
root=$tmp/root

# --- the guest's file system -------------------------------------------------

mkdir -p "$root"/{usr/bin,usr/sbin,usr/lib,usr/lib64,usr/share} \
	"$root"/{proc,sys,dev,tmp,run,root,etc,var,data,vm/modules}
for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
ln -s /run "$root/var/run"
ln -s /tmp "$root/var/tmp"

cp /bin/busybox "$root/usr/bin/busybox"
for a in $(busybox --list-full); do
	case $a in
	usr/*) ;;
	*) a=usr/$a ;;
	esac
	[ -e "$root/$a" ] || { mkdir -p "$root/${a%/*}"; ln -s /usr/bin/busybox "$root/$a"; }
done
cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh
END
cat >"$root/etc/group" <<'END'
root:x:0:
tty:x:5:
nogroup:x:65534:
END
echo "127.0.0.1 localhost kaus-vm" >"$root/etc/hosts"
echo "hosts: files" >"$root/etc/nsswitch.conf"

# put HOST [GUEST]: copy, following symbolic links; remember ELF files.
elf=$tmp/elf
: >"$elf"
put() {
	local from=$1 to=$root${2:-$1} f
	if [ -d "$from" ]; then
		mkdir -p "$to"
		cp -RL --preserve=mode "$from/." "$to/"
		while IFS= read -r -d '' f; do
			is_elf "$f" && echo "$f" >>"$elf"
		done < <(find -L "$from" -type f \( -perm -100 -o -name '*.so*' \) -print0)
	else
		mkdir -p "${to%/*}"
		# A busybox link must not be written through.
		rm -f "$to"
		cp -L --preserve=mode "$from" "$to"
		is_elf "$from" && echo "$from" >>"$elf"
	fi
	return 0
}

is_elf() {
	[ "$(head -c 4 "$1" | tr -d '\0')" = $'\x7fELF' ]
}

# A relative path is taken from here; $PWD keeps its symbolic links.
absolute() {
	case $1 in
	/*) echo "$1" ;;
	*) realpath -ms "$1" ;;
	esac
}

cp "$here/init" "$root/init"
chmod 755 "$root/init"
[ -z "$ko" ] || cp "$ko" "$root/vm/kaus.ko"

for a in ${adds[@]+"${adds[@]}"}; do
	from=$(absolute "${a%%:*}")
	to=$from
	case $a in *:*) to=${a#*:} ;; esac
	[ -e "$from" ] || die "--add: no $from"
	put "$from" "$to"
	case $(basename "$from") in
	gdb)	# runs its Python part at start, and wants thread_db
		put "$(find /lib/x86_64-linux-gnu -name libthread_db.so.1)"
		[ ! -d /usr/share/gdb ] || put /usr/share/gdb
		for p in /usr/lib/python3.*/; do
			p=${p%/}
			mkdir -p "$root$p"
			tar -C "$p" -c --exclude=test --exclude=__pycache__ \
				--exclude=idlelib --exclude=lib2to3 --exclude=config-* . |
				tar -C "$root$p" -x
		done
		;;
	esac
done
# Words of the command that are files or programs here.
# shellcheck disable=SC2048
for w in $*; do
	case $w in
	/usr/bin/* | /bin/* | /sbin/* | -*) continue ;;
	esac
	f=$(absolute "$w")
	[ -f "$f" ] && [ ! -e "$root$f" ] && put "$f"
done

# Shared libraries, and those that glibc opens by name at run time.
for l in libgcc_s.so.1 libnss_files.so.2 libnss_dns.so.2; do
	f=/lib/x86_64-linux-gnu/$l
	[ -e "$f" ] && put "$f"
done
if [ -s "$elf" ]; then
	sort -u "$elf" | tr '\n' '\0' | xargs -0 ldd 2>/dev/null |
		grep -o '/[^ )]*' | sed 's/:$//' | sort -u >"$tmp/libs"
	while read -r f; do
		[ -e "$root$f" ] || put "$f"
	done <"$tmp/libs"
	[ -e "$root/lib64/ld-linux-x86-64.so.2" ] || put /lib64/ld-linux-x86-64.so.2
fi
mkdir -p "$root$PWD"
# As dkms installs it: what a debugger wants doubles the time it takes to load.
find "$root/vm" -maxdepth 1 -name 'kaus*.ko' -exec strip -g {} +

# Modules of the kernel's, in the order their dependencies want.
load=
[ -z "$disk" ] || wants="$wants virtio_pci virtio_blk ext4"
if [ "$wants" ]; then
	[ "$modules" ] || die "--disk and --load need --modules"
	for want in $wants; do
		line=$(grep -E "/$want\.ko(\.[a-z]*)?:" "$modules/modules.dep") || continue	# built in
		read -ra deps <<<"$line"
		for ((i = ${#deps[@]} - 1; i >= 0; i--)); do
			f=${deps[i]%:}
			b=$(basename "$f")
			b=${b%.xz} b=${b%.zst} b=${b%.gz}
			case " $load " in *" $b "*) continue ;; esac
			case $f in
			*.xz) xz -dc "$modules/$f" >"$root/vm/modules/$b" ;;
			*.zst) zstd -qdc "$modules/$f" >"$root/vm/modules/$b" ;;
			*.gz) gzip -dc "$modules/$f" >"$root/vm/modules/$b" ;;
			*) cp "$modules/$f" "$root/vm/modules/$b" ;;
			esac
			load="$load $b"
		done
	done
fi
if [ "$disk" ]; then
	# ext4 asks for its checksum by name, not by symbol.
	line=$(grep -E '/crc32c_generic\.ko(\.[a-z]*)?:' "$modules/modules.dep" || :)
	if [ "$line" ]; then
		f=${line%%:*}
		case $f in
		*.xz) xz -dc "$modules/$f" >"$root/vm/modules/crc32c_generic.ko" ;;
		*) cp "$modules/$f" "$root/vm/modules/crc32c_generic.ko" ;;
		esac
		load="crc32c_generic.ko$load"
	fi
	truncate -s "${disk}M" "$tmp/disk"
	mke2fs -q -F -t ext4 -E lazy_itable_init=0 "$tmp/disk"
fi

quote() {
	printf "'%s'" "${1//\'/\'\\\'\'}"
}
{
	echo "VM_MODULES=$(quote "$load")"
	echo "VM_MODULE_ARGS=$(quote "$module_args")"
	echo "VM_DISK=$disk"
	echo "VM_SHELL=$shell"
	echo "VM_LONE_LOAD=$([ "$thread" = single ] || echo 1)"
	echo "VM_CWD=$(quote "$PWD")"
	echo "VM_WATCHDOG=$((timeout > 40 ? timeout - 20 : timeout / 2))"
	echo "export KAUS_VM=$version"
	[ -z "$icount" ] || echo "export KAUS_ICOUNT=1 KAUS_VM_ICOUNT=1"
	[ "$thread" = multi ] || echo "export KAUS_VM_ONE_THREAD=1"
	[ -z "$wake" ] || echo "export KAUS_VM_WAKE=1"
	[ -z "${TERM-}" ] || echo "export TERM=$(quote "$TERM")"
} >"$root/vm/env"
if [ $# = 1 ]; then
	printf '%s\n' "$1" >"$root/vm/cmd"
else
	for a; do quote "$a"; printf ' '; done >"$root/vm/cmd"
	echo >>"$root/vm/cmd"
fi
(cd "$root" && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0) >"$tmp/initrd"
rm -rf "$root"

# --- the machine -------------------------------------------------------------

console=$tmp/console
args=(-nodefaults -no-user-config -display none -no-reboot -m "$mem"
	-kernel "$vmlinuz" -initrd "$tmp/initrd"
	-chardev "file,id=con,path=$console" -serial chardev:con
	-chardev "stdio,id=out,signal=$([ "$shell" ] && echo off || echo on)" -serial chardev:out)
cmdline="console=ttyS0,115200 loglevel=4 log_buf_len=4M panic=-1 oops=panic"
# The kernel's own tests of its ciphers would take a CPU for seconds.
cmdline="$cmdline tsc=reliable no_timer_check cryptomgr.notests"
# One CPU until init has loaded all; see there.
[ "$thread" = single ] || cmdline="$cmdline maxcpus=1"
case $kernel in
# An interrupt with all the checks takes long here, and that is no fault.
debug-*) cmdline="$cmdline nosoftlockup" ;;
esac
cmdline="$cmdline $append"
if [ "$disk" ]; then
	# O_DIRECT on the guest's side must reach a raw file.
	args+=(-drive "file=$tmp/disk,format=raw,if=none,id=d,cache=writeback"
		-device virtio-blk-pci,drive=d)
fi
# cmpxchg16b is taken out because QEMU 7.2 leaves the flags after it undefined
# for an interrupt that comes right then (it computes them from a stale cc_op):
# SLUB uses it, and the guest dies of a double fault about once in an hour of
# short slices.
cpu=max,-cx16
if [ "$icount" ]; then
	cpus=1
	# What the guest takes for chance and for the time of day repeats, too.
	emulate=(-accel "tcg,thread=single" -icount "shift=0,sleep=off" -cpu "$cpu"
		-seed 1 -rtc "base=2026-01-01,clock=vm")
else
	emulate=(-accel "tcg,thread=$thread" -cpu "$cpu")
fi

# What the guest's second serial line receives.
keys() {
	while [ "$wake" ] && sleep "$wake"; do echo; done
}

# boot ACCEL...: start and wait; sets qemu_rc.
boot() {
	: >"$console"
	if [ "$shell" ]; then
		qemu-system-x86_64 "$@" -smp "$cpus" "${args[@]}" -append "$cmdline" && qemu_rc=0 || qemu_rc=$?
		return
	fi
	timeout -k 5 "$timeout" qemu-system-x86_64 "$@" -smp "$cpus" \
		"${args[@]}" -append "$cmdline" < <(keys 2>/dev/null) &
	qemu_pid=$!
	if [ "$1,$2" = -accel,kvm ]; then
		for ((i = 0; i < 150; i++)); do
			grep -q KAUS-VM-UP "$console" && break
			kill -0 "$qemu_pid" 2>/dev/null || break
			sleep 0.1
		done
		grep -q KAUS-VM-UP "$console" || kill "$qemu_pid" 2>/dev/null || :
	fi
	wait "$qemu_pid" && qemu_rc=0 || qemu_rc=$?
	qemu_pid=
}

if [ "$kvm" ] && [ -w /dev/kvm ] && [ -z "$icount" ] && [ -z "$shell" ]; then
	boot -accel kvm -cpu host 2>"$tmp/kvm-err"
	if ! grep -q KAUS-VM-UP "$console"; then
		echo "vm/run.sh: KVM does not work here, emulating" >&2
		boot "${emulate[@]}"
	fi
else
	boot "${emulate[@]}"
fi

# --- the verdict -------------------------------------------------------------

rc=$(tr -d '\r' <"$console" | sed -n 's/^KAUS-VM-EXIT \([0-9][0-9]*\)$/\1/p' | tail -n 1)
[ -z "$log" ] || cp "$console" "$log"
case $rc in
'')
	[ "$qemu_rc" = 124 ] && why="timeout after $timeout s" || why="no verdict (qemu: $qemu_rc)"
	rc=1
	;;
0) exit 0 ;;
123) why="kernel log not silent" ;;
124) why="module would not unload" ;;
*) why="exit $rc" ;;
esac
[ "$shell" ] && exit "$rc"
kept=$top/build/vm/console-$kernel.log
case $kernel in */*) kept=$top/build/vm/console-$version.log ;; esac
cp "$console" "$kept"
echo "vm/run.sh: $version: $why; console log (all of it: $kept):" >&2
tr -d '\r' <"$console" | tail -n 60 | sed 's/^/  | /' >&2
exit "$rc"
