# Scripts for ctr. The prelude of each script is in test_containerd.py and scripts.py.

## run
status run --rm $box $n echo hello

## exit status
status run --rm $box $n sh -c 'exit 7'

## not found
status run --rm $box $n nosuch
ctr container ls -q

## not executable
status run --rm $box $n /etc/passwd

## a directory
status run --rm $box $n /etc

## standard error
status run --rm $box $n sh -c 'echo out; echo err >&2' 2>&1 | sort

## standard input
{ echo one; echo two; sleep 1; } | status run --rm $box $n head -n 2

## environment
status run --rm --env ONE=1 $box $n sh -c 'echo $FROM $ONE $PATH $HOME'

## working directory
status run --rm --cwd /home/user $box $n pwd

## a missing working directory
status run --rm --cwd /made/for/us $box $n pwd

## terminal
tty $ctr run --rm --runc-binary $runtime --tty $box $n sh -c '"[ -t 0 ] && [ -t 1 ] && echo a terminal; exit 5"'

## no input or output
status run --rm --null-io $box $n echo hello

## a log file
log=/run/$n.log
quietly run --rm --log-uri file://$log $box $n sh -c 'echo out; exit 2'
until_true 'grep out $log'
cat $log

## pid file
alive --pid-file /run/$n.pid
grep -cx '[0-9][0-9]*' /run/$n.pid
[ "$(task ls | grep -o "$n *[0-9]*" | grep -o '[0-9]*$')" = "$(cat /run/$n.pid)" ] && echo same
gone

## read-only
status run --rm --read-only $box $n touch /x

## mounts
status run --rm $box $n sh -c "$tree"

## bind mounts
mkdir -p /run/$n.data
echo here >/run/$n.data/file
status run --rm --mount type=bind,src=/run/$n.data,dst=/data,options=rbind:ro $box $n sh -c 'cat /data/file; touch /data/x'
status run --rm --mount type=bind,src=/run/$n.data,dst=/data,options=rbind:rw $box $n touch /data/x
ls /run/$n.data

## a mount with no source
status run --rm --mount type=bind,src=/nonexistent,dst=/data,options=rbind:ro $box $n true
task ls -q
ctr container ls -q

## tmpfs
status run --rm --mount type=tmpfs,src=tmpfs,dst=/data,options=size=1m:mode=700 $box $n sh -c "$tree"

## memory
alive --memory-limit 67108864
cat /sys/fs/cgroup/memory/$namespace/$n/memory.limit_in_bytes /sys/fs/cgroup/$namespace/$n/memory.max 2>/dev/null | grep .
gone

## processor time
alive --cpu-quota 50000 --cpu-period 100000
cat /sys/fs/cgroup/cpu/$namespace/$n/cpu.cfs_*_us /sys/fs/cgroup/$namespace/$n/cpu.max 2>/dev/null | grep .
gone

## processor shares
alive --cpus 0.5 --cpu-shares 512
cat /sys/fs/cgroup/cpu/$namespace/$n/cpu.shares /sys/fs/cgroup/$namespace/$n/cpu.weight 2>/dev/null | grep .
gone

## cgroup
status run --rm --cgroup /$namespace/mine/$n $box $n cat /proc/self/cgroup

## capabilities
status run --rm $box $n sh -c "$facts"

## more and fewer capabilities
status run --rm --cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN $box $n sh -c "$facts"

## privileged
status run --rm --privileged $box $n sh -c "$facts"

## new privileges
status run --rm --allow-new-privs $box $n sh -c "$facts"

## seccomp
status run --rm --seccomp $box $n sh -c "$facts"

## host network
status run --rm --net-host $box $n sh -c 'ls /sys/class/net | sort'

## device
status run --rm --device /dev/full $box $n sh -c 'ls /dev; echo x >/dev/full'

## user namespace
status run --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 $box $n sh -c 'id; cat /proc/self/uid_map'

## no pivot
status run --rm --no-pivot $box $n echo hello

## namespaces of another
alive
pid=$(task ls | grep -o "$n *[0-9]*" | grep -o '[0-9]*$')
status run --rm --with-ns pid:/proc/$pid/ns/pid --with-ns ipc:/proc/$pid/ns/ipc $box $n-2 sh -c 'ps | grep -c "sleep 10[0]"'
gone

## a life
alive
state
status task kill --signal 9 $n
until_true 'state | grep STOPPED'
state
status task rm $n
task ls -q
status ctr container rm $n
ctr container ls -q

## start later
status ctr container create --runc-binary $runtime $box $n sleep 100
status task start --detach $n
state
gone

## the same name
alive
quietly alive
state
gone

## exec
alive
status task exec --exec-id a $n echo hello
status task exec --exec-id b $n sh -c 'exit 9'
status task exec --exec-id c --cwd /home --user user $n sh -c 'pwd; id'
status task exec --exec-id d --user 5:6 $n id
status task exec --exec-id e $n nosuch
status task exec --exec-id f $n /etc/passwd
status task exec --exec-id g $n sh -c "$facts"
status task exec --exec-id h $n sh -c 'kill -9 $$'
state
gone

## exec without waiting
alive
status task exec --detach --exec-id a $n sleep 50
until_true 'task exec --exec-id p$try $n ps | grep "sleep 50"'
status task kill --exec-id a --signal 9 $n
until_true '! task exec --exec-id q$try $n ps | grep "sleep 50"'
state
gone

## exec with a terminal
alive
# The program outlives its output: ctr 1.6 may drop output that it has not copied when the exit is reported.
tty $ctr task exec --tty --exec-id a $n sh -c '"[ -t 0 ] && [ -t 1 ] && echo a terminal; sleep 0.5; exit 6"'
gone

## exec with input
alive
{ echo one; sleep 1; } | status task exec --exec-id a $n head -n 1
gone

## exec in one that ended
run --detach $box $n true
until_true 'state | grep STOPPED'
status task exec --exec-id a $n true
gone

## processes
alive
task exec --detach --exec-id a $n sleep 50
until_true '[ $(task ps $n | wc -l) = 3 ]'
task ps $n | wc -l
gone

## pause
alive
status task pause $n
state
quietly timeout -s KILL 5 $ctr task exec --exec-id a $n true
status task resume $n
state
status task exec --exec-id b $n echo hello
status task resume $n
gone

## kill while paused
alive
status task pause $n
status task kill --signal SIGKILL $n
status task resume $n
until_true 'state | grep STOPPED'
state
gone

## remove while paused
alive
status task pause $n
gone
task ls -q

## metrics
alive --memory-limit 67108864
task metrics --format json $n | python3 -c 'import json, sys; d = json.load(sys.stdin); m = d["memory"]; print(sorted(d), m.get("usage_limit") or m["usage"]["limit"])'
gone

## kill
run --detach $box $n sh -c 'trap "echo told; exit 3" USR1; while :; do sleep 0.1; done'
sleep 0.5
status task kill --signal SIGUSR1 $n
until_true 'state | grep STOPPED'
status task kill $n
task rm $n
status ctr container rm $n

## kill by number
run --detach $box $n sleep 100
status task kill --signal 9 $n
until_true 'state | grep STOPPED'
state
gone

## kill all
run --detach $box $n sh -c 'sleep 100 & sleep 100 & wait'
until_true '[ $(task ps $n | wc -l) = 4 ]'
status task kill --all --signal 9 $n
until_true 'state | grep STOPPED'
gone

## kill all in the host's pid namespace
run --detach --with-ns pid:/proc/1/ns/pid $box $n sh -c 'sleep 7654 & sleep 7654 & wait'
until_true '[ $(pgrep -cfx "sleep 7654") = 2 ]'
status task kill --signal 9 $n
until_true 'state | grep STOPPED'
until_true '! pgrep -fx "sleep 7654"'
gone
task ls -q

## remove a running one
alive
quietly task rm $n
state
gone
task ls -q

## nothing by that name
status task kill nosuch
status task pause nosuch
status task rm nosuch
status task exec --exec-id a nosuch true

## out of memory
command $ctr events >/run/$n.events & pid=$!
sleep 0.5
run --detach --memory-limit 33554432 --mount type=tmpfs,src=tmpfs,dst=/data,options=size=200m $box $n sh -c 'dd if=/dev/zero of=/data/file bs=1M count=100'
until_true 'state | grep STOPPED'
until_true "grep /tasks/oom /run/$n.events"
kill $pid
grep -o '/tasks/[a-z-]* ' /run/$n.events | sort -u
gone

## events
command $ctr events >/run/$n.events & pid=$!
sleep 0.5
alive
task exec --exec-id a $n true
task pause $n
task resume $n
task kill --signal 9 $n
until_true 'state | grep STOPPED'
gone
until_true "grep containers/delete /run/$n.events"
kill $pid
# The current containerd sometimes loses the last event of a task: the shim that sends it has exited.
grep -o ' /[a-z]*/[a-z-]* ' /run/$n.events | grep -v tasks/delete | sort

## a shim that dies
alive --pid-file /run/$n.pid
shim=$(pgrep -f "containerd-shim-runc-v2.*-id $n ")
kill -9 $shim
until_true '! kill -0 $(cat /run/$n.pid)'
until_true '[ -z "$(task ls -q)" ]'
quietly ctr container rm $n

## a runtime that is missing
runtime=/nonexistent
status run --rm $box $n true
task ls -q
ctr container ls -q

## checkpoint
run --detach $box $n sh -c 'mine=$(cat /proc/sys/kernel/random/uuid); while :; do echo $mine >/new; mv /new /made; sleep 0.1; done'
until_true 'task exec --exec-id a$try $n stat /made'
made=$(task exec --exec-id before $n cat /made)
status ctr container checkpoint --task --rw $n checkpoint-$n
state
gone
status ctr container restore --live $n checkpoint-$n
state
# The value exists only in the program's memory: a restarted program would write another value.
task exec --exec-id remove $n rm /made
until_true 'task exec --exec-id b$try $n stat /made'
[ "$(task exec --exec-id after $n cat /made)" = "$made" ] && echo goes on
gone
quietly ctr image rm checkpoint-$n
