# Scripts for docker. The prelude of each script is in test_docker.py and scripts.py.

## run
status run --rm box echo hello

## exit status
status run --rm box sh -c 'exit 7'

## killed by a signal
status run --rm --init box sh -c 'kill -9 $$'

## not found
status run --rm box nosuch

## not found by path
status run --rm box /nosuch

## not executable
status run --rm box /etc/passwd

## a directory
status run --rm box /etc

## input
echo one | status run --rm -i box cat

## environment
status run --rm --env ONE=1 box sh -c 'echo $FROM $ONE $HOME'

## user
status run --rm --user user box id

## user by number
status run --rm --user 5:6 --group-add 7 box id

## working directory
status run --rm --workdir /made/for/us box pwd

## hostname
status run --rm --hostname box1 box cat /etc/hostname /proc/sys/kernel/hostname

## terminal
tty $docker run --rm --runtime $runtime --network none -t box sh -c '"[ -t 0 ] && [ -t 1 ] && echo a terminal; exit 5"'

## init
status run --rm --init box sh -c '[ $$ -gt 1 ] && echo a child'

## read-only
status run --rm --read-only --tmpfs /tmp box sh -c 'touch /x; touch /tmp/x && echo tmp'

## mounts
status run --rm box sh -c "$tree"

## tmpfs
status run --rm --tmpfs /data:size=1m,mode=700 box sh -c "$tree"

## volume
status run --rm -v $n:/data box sh -c 'echo 1 >/data/file; cat /data/file'
status run --rm -v $n:/data:ro box sh -c 'cat /data/file; touch /data/x'
docker volume rm $n

## bind mount
mkdir -p /run/$n
status run --rm -v /run/$n:/data:ro,rslave box touch /data/x
status run --rm -v /run/$n:/data box touch /data/x
ls /run/$n

## shared memory
status run --rm --shm-size 1m box sh -c "$tree"

## capabilities
status run --rm box sh -c "$facts"

## fewer capabilities
status run --rm --cap-drop all --cap-add chown --user 5 box sh -c "$facts"

## privileged
status run --rm --privileged box sh -c "$facts"

## no new privileges
status run --rm --security-opt no-new-privileges box sh -c "$facts"

## seccomp off
status run --rm --security-opt seccomp=unconfined box sh -c "$facts"

## a system call that seccomp denies
status run --rm --cap-add sys_admin --security-opt seccomp=unconfined box mount -t tmpfs tmpfs /tmp
status run --rm box mount -t tmpfs tmpfs /tmp

## sysctl
status run --rm --sysctl net.ipv4.ip_forward=1 box cat /proc/sys/net/ipv4/ip_forward

## open files
status run --rm --ulimit nofile=500:600 box sh -c 'ulimit -Sn; ulimit -Hn'

## device
status run --rm --device /dev/full:/dev/mine:r box sh -c 'head -c 3 /dev/mine | wc -c; echo x >/dev/mine'

## limits
status run --rm --memory 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 30 --blkio-weight 500 box sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus pids/pids.max memory.max cpu.max cpuset.cpus pids.max 2>/dev/null'

## namespaces of the host
status run --rm --pid host --ipc host --uts host box sh -c '[ $$ -gt 1 ] && cat /proc/sys/kernel/hostname'

## namespaces of another
alive --ipc shareable
status run --rm --pid container:$n --ipc container:$n box sh -c 'ps | grep -c "sleep 10[0]"'
gone

## host network
status docker run --rm --runtime $runtime --network host box ls /sys/class/net

## private cgroup namespace
status run --rm --cgroupns private box sh -c 'cut -d: -f3 /proc/self/cgroup | sort -u'

## a life
quietly docker create $here --name $n box sleep 100
show '{{.State.Status}}'
quietly docker start $n
show '{{.State.Status}} {{.HostConfig.Runtime}}' | grep -o running
quietly docker kill $n
docker wait $n
show '{{.State.Status}} {{.State.ExitCode}}'
gone

## logs
quietly run --name $n box sh -c 'echo out; echo err >&2'
docker logs $n 2>&1 | sort
gone

## stop
quietly run -d --name $n box sh -c 'trap "echo told; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
until_true 'docker logs $n | grep ready'
quietly docker stop $n
docker logs $n
show '{{.State.ExitCode}}'
gone

## stop that takes too long
quietly run -d --name $n box sh -c 'trap : TERM; echo ready; while :; do sleep 1; done'
until_true 'docker logs $n | grep ready'
quietly docker stop -t 1 $n
show '{{.State.ExitCode}}'
gone

## kill
alive --init
until_true 'docker top $n -o pid,comm | grep sleep$'  # before that, the signal would be ignored
quietly docker kill --signal USR1 $n
until_true '[ "$(show {{.State.Status}})" = exited ]'
show '{{.State.ExitCode}}'
quietly docker kill $n
gone

## restart
alive
quietly docker restart -t 0 $n
show '{{.State.Status}}'
quietly docker stop -t 0 $n
quietly docker start $n
show '{{.State.Status}}'
gone

## restart by itself
quietly run -d --name $n --restart on-failure:2 box sh -c 'echo again; exit 1'
until_true '[ "$(docker logs $n | wc -l)" = 3 ]'
until_true '[ "$(show {{.State.Status}})" = exited ]'
show '{{.RestartCount}}'
gone

## top
alive
until_true 'docker top $n -o pid,comm | grep sleep$'   # before that, it is the runtime's init
docker top $n -o pid,args | while read pid args
do echo $args
done
gone

## stats
alive --memory 64m
docker stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' $n | grep -o '^1 \|/ 64MiB'
gone

## update
alive --memory 64m
quietly docker update --memory 96m --memory-swap 96m --cpus 0.5 --cpuset-cpus 0 --pids-limit 20 $n
docker exec $n sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpuset/cpuset.cpus pids/pids.max memory.max cpu.max cpuset.cpus pids.max 2>/dev/null'
quietly docker update --cpu-shares 512 $n
docker exec $n sh -c 'cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.weight /sys/fs/cgroup/cpu.max 2>/dev/null'
show '{{.State.Status}}'
gone

## exec
alive --user user
status docker exec $n id
status docker exec --user 0:0 $n id
status docker exec --env TWO=2 --workdir /home $n sh -c 'echo $FROM $TWO; pwd; exit 9'
status docker exec $n nosuch
status docker exec $n /etc/passwd
status docker exec $n sh -c "$facts"
tty $docker exec -t $n sh -c '"[ -t 0 ] && [ -t 1 ] && echo a terminal"'
echo one | status docker exec -i $n cat
quietly docker exec -d $n touch /tmp/detached
until_true 'docker exec $n stat /tmp/detached'
gone

## exec with privileges
alive
status docker exec --privileged $n sh -c "$facts"
gone

## exec in one that ended
quietly run --name $n box true
quietly docker exec $n true
gone

## pause
alive
quietly docker pause $n
show '{{.State.Status}}'
quietly docker exec $n true
quietly docker unpause $n
show '{{.State.Status}}'
status docker exec $n echo hello
gone

## remove while paused
alive
quietly docker pause $n
gone
docker ps -aq --filter name=$n

## attach
quietly run -d --name $n box sh -c 'until [ -e /go ]; do sleep 0.1; done; echo seen; exit 4'
docker attach $n >/run/$n.out & sleep 1
docker exec $n touch /go
wait $!
cat /run/$n.out
gone

## health
alive --health-cmd 'test -e /healthy' --health-interval 200ms --health-retries 1
until_true '[ "$(show "{{if .State.Health}}{{.State.Health.Status}}{{end}}")" = unhealthy ]'
docker exec $n touch /healthy
until_true '[ "$(show "{{if .State.Health}}{{.State.Health.Status}}{{end}}")" = healthy ]'
show '{{if .State.Health}}{{.State.Health.Status}}{{end}}'
gone

## out of memory
start=$(date +%s)
quietly run --name $n --memory 16m --memory-swap 16m --tmpfs /big:size=200m box sh -c 'dd if=/dev/zero of=/big/file bs=1M count=100; echo $?; sleep 1'
docker logs $n
# Whether .State.OOMKilled is set depends on which event the daemon hears first.
until_true 'docker events --since $start --until $(date +%s) --filter container=$n --filter event=oom | grep oom'
gone

## events
quietly docker events --since 0s --until 0s
start=$(date +%s)
alive
quietly docker exec $n true
quietly docker pause $n
quietly docker unpause $n
gone
docker events --since $start --until $(( $(date +%s) + 1 )) --filter container=$n --format '{{.Action}}'

## copy
quietly docker create $here --name $n box true
docker cp $n:/etc/group - | grep -c user
gone

## commit
quietly run --name $n box touch /made
quietly docker commit $n made-$n
status run --rm made-$n ls /made
gone
quietly docker rmi made-$n

## a mount with no source
status run --rm --mount type=bind,src=/nonexistent-place,dst=/data box true
docker ps -aq --filter name=$n

## a name that is taken
alive
alive
show '{{.State.Status}}'
gone

## a shim that dies
alive
pid=$(show '{{.State.Pid}}')
id=$(show '{{.Id}}')
kill -9 $(pgrep -f "shim.* -id $id ")
until_true '! kill -0 $pid'
until_true '[ "$(show {{.State.Status}})" = exited ]'
quietly docker start $n
show '{{.State.Status}}'
gone
