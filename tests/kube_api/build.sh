#!/bin/sh
# Build a real Kubernetes API server for custom resources, and the store behind it, from Debian's packages:
#   sh tests/kube_api/build.sh [FOLDER]        (default: .tools/kube-api at the root of the repository)
# FOLDER then holds bin/etcd and bin/apiextensions-apiserver, dynamically linked to nothing but libc.
#
# No package ships kube-apiserver or k3s, but Debian sid's Go libraries hold the server of custom resources, the part
# of kube-apiserver that validates, defaults and stores them. It is built in a sid system of its own (debootstrap),
# which is removed afterwards. Needs root, about 5 GB of disk meanwhile, and some ten minutes. Safe to run again.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
folder=${1:-$root/.tools/kube-api}
system=$folder/sid
server=k8s.io/apiextensions-apiserver

skip() {
    echo "SKIPPED, no Kubernetes API server was built: $1" >&2
    exit 0
}

in_system() {
    chroot "$system" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive \
        GOROOT="${goroot:-}" GO111MODULE=off GOPATH=/usr/share/gocode "$@"
}

if [ -x "$folder/bin/etcd" ] && [ -x "$folder/bin/apiextensions-apiserver" ]; then
    echo "already built: $folder/bin"
    exit 0
fi
[ "$(id -u)" = 0 ] || skip "debootstrap needs root; run: sudo sh $0"
command -v debootstrap >/dev/null || skip "debootstrap is missing; run: apt-get install debootstrap"

# The mirror that this machine's own packages come from; debootstrap's default on a machine without one.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m 1 '/debian/$' || true)

mkdir -p "$folder/bin"
if [ ! -e "$system/.made" ]; then
    rm -rf "$system"
    debootstrap --variant=minbase sid "$system" $mirror || skip "debootstrap failed; see above"
    touch "$system/.made"
fi
# Services are not started in the build system, and etcd's set-up, which wants one, is not waited for.
printf '#!/bin/sh\nexit 101\n' >"$system/usr/sbin/policy-rc.d"
chmod +x "$system/usr/sbin/policy-rc.d"
# A mirror that stopped following sid some weeks ago does as well: its signature is checked, its age is not.
in_system apt-get -qq -o Acquire::Check-Valid-Until=false update || skip "the package index of sid could not be read; see above"
in_system apt-get -qq install --yes --no-install-recommends \
    golang-go golang-k8s-apiextensions-apiserver-dev etcd-server ca-certificates >"$folder/packages.log" 2>&1 ||
    echo "some package was not set up (etcd's service, usually); see $folder/packages.log"
# Go finds its own library through /proc, which is not there.
goroot=$(in_system sh -c 'dirname "$(dirname "$(readlink -f /usr/bin/go)")"')
in_system go version || skip "Go was not installed; see $folder/packages.log"

in_system go build -trimpath -o /tmp/apiextensions-apiserver "$server" || skip "the API server did not build; see above"
install "$system/tmp/apiextensions-apiserver" "$folder/bin/apiextensions-apiserver"
install "$system/usr/bin/etcd" "$folder/bin/etcd"
in_system dpkg-query -W golang-k8s-apiextensions-apiserver-dev etcd-server golang-go >"$folder/versions.txt"
rm -rf "$system"
echo "built: $folder/bin"
cat "$folder/versions.txt"
