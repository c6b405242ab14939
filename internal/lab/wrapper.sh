#!/bin/sh
# Runs PROGRAM so that it ends with the program that started it, however that ends, and at once when told to. envtest
# can do neither: it sends SIGTERM, upon which kube-apiserver waits for every open watch.
mortal="setpriv --pdeathsig KILL"
$mortal true 2>/dev/null || mortal=
if [ -z "$LAB_WRAPPED" ]; then
	export LAB_WRAPPED=1
	exec $mortal "$0" "$@"
fi
$mortal PROGRAM "$@" &
trap 'kill -KILL $!' TERM
wait $!
status=$?
wait # a signal ends the first wait before the program has ended
exit $status
