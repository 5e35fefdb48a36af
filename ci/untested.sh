#!/usr/bin/env bash
# Says which tests a machine cannot run, because go test shows no reason for a skip. In CI those tests have failed before.
set -u
untested() { echo "NOT TESTED: $1" >&2; }
docker info >/dev/null 2>&1 || untested "everything in containers (harness/cluster/docker): no Docker engine answers"
command -v iptables-save >/dev/null || untested "that the host's firewall stays as it was: iptables-save is not installed"
command -v kcat >/dev/null || untested "kcat as a client (ci/e2e): it is not installed"
