#!/usr/bin/env bash
# Installs the programs that tests run and that Go cannot build: git with its http-backend, and sshd. It does nothing on
# a machine that has them. If it may not install, it names the missing packages.
set -euo pipefail

missing=()
[[ -x "$(git --exec-path 2>/dev/null)/git-http-backend" ]] || missing+=(git)
command -v sshd >/dev/null || [[ -x /usr/sbin/sshd ]] || missing+=(openssh-server)
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core) # for pages
command -v cc >/dev/null || missing+=(gcc libc6-dev) # the race detector links with it
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
	echo "tests need these Debian packages, or what stands for them here: ${missing[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
