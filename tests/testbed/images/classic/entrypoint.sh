#!/bin/bash
# What the official image's entry point does since 6.2.1, without its rewriting of passwords: the
# broker is a child, SIGTERM is passed on, and then this shell ends at once.
"$@" &
child=$!
trap 'kill -TERM "$child" 2> /dev/null' TERM INT
wait "$child"
exit $?
