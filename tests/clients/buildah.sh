# Scripts for buildah. The prelude of each script is in test_buildah.py and scripts.py.

## build: plain
build -f $context/plain
buildah images -q localhost/$n | wc -l
show cat /made

## build: words
build -f $context/words
buildah images -q localhost/$n | wc -l
show cat /made

## build: mounts
build -f $context/mounts
buildah images -q localhost/$n | wc -l
show cat /made

## build: stages
build -f $context/stages
buildah images -q localhost/$n | wc -l
show cat /made

## build: fails
build -f $context/fails
buildah images -q localhost/$n | wc -l

## build: missing
build -f $context/missing
buildah images -q localhost/$n | wc -l

## run
from
run $n echo hello
run $n sh -c 'exit 7'
run $n nosuch
run $n /etc/passwd
buildah rm $n | wc -l

## user, environment, directory
from
run --user user $n id
run --env ONE=1 --workingdir /home $n sh -c 'echo $FROM $ONE; pwd'
buildah rm $n | wc -l

## a terminal
from
tty $buildah run --runtime $runtime --isolation oci --terminal $n sh -c '"[ -t 0 ] && [ -t 1 ] && echo a terminal; exit 5"'
buildah rm $n | wc -l

## input
from
echo one | run $n cat
buildah rm $n | wc -l

## capabilities
from --cap-drop all --cap-add chown
run $n sh -c "$facts"
buildah rm $n | wc -l

## no privileges
from --security-opt seccomp=unconfined
run $n sh -c "$facts"
buildah rm $n | wc -l

## volume
from
mkdir -p /run/$n
run -v /run/$n:/data $n touch /data/x
run -v /run/$n:/data:ro $n touch /data/y
ls /run/$n
buildah rm $n | wc -l

## memory
from --memory 64m
run $n sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null'
buildah rm $n | wc -l

## mounts
from
run $n sh -c "$tree"
buildah rm $n | wc -l

## host network
from
run --network host $n ls /sys/class/net
buildah rm $n | wc -l

## kept changes
from
run $n touch /made
buildah commit -q $n localhost/$n >/dev/null
show ls /made
buildah rm $n | wc -l
