#!/usr/bin/env bash
# Stand-ins for the two base images of the Dockerfile, for machines that cannot pull images but reach
# Debian's packages. They get the public names, so the Dockerfile builds unchanged, without pulling:
#
#   denoland/deno:$DENO_VERSION             deno, denort, a shell, coreutils, sed, grep, ...
#   gcr.io/distroless/cc-debian12:nonroot   glibc, libgcc_s, CA certificates, tzdata; no programs
#
# Nothing of the first reaches the image that is built; the second lacks the libstdc++ and the libssl
# of the real one, which kvs does not use. tools/containers.ts calls this. By hand, as root:
#
#   DENO_VERSION=2.4.2 DENO_BIN=/path/to/deno DENORT_BIN=/path/to/denort tools/base_images.sh
#
# Images that exist are left alone. Needs podman and apt lists (apt-get update). CONTAINERS_CONF and
# CONTAINERS_STORAGE_CONF choose the store, as for every podman command.
set -euo pipefail

distroless=gcr.io/distroless/cc-debian12:nonroot
deno_image=docker.io/denoland/deno:$DENO_VERSION # what the short name resolves to
path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack ROOT PACKAGE...: downloads Debian packages and lays them into ROOT; no script of them runs.
# tar, not dpkg -x, so that the links /bin -> usr/bin made beforehand survive.
unpack() {
  local root=$1 deb
  shift
  mkdir -p "$work/debs" "$root"
  rm -f "$work"/debs/*.deb
  (cd "$work/debs" && apt-get -qq -o APT::Sandbox::User=root download "$@")
  for deb in "$work"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -p --keep-directory-symlink -C "$root"
  done
  rm -rf "$root"/usr/share/{doc,man,info,locale,lintian,bug} "$root"/usr/lib/*/gconv
  # What the scripts of the packages would have made:
  mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/root"
  chmod 1777 "$root/tmp"
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
}

# import ROOT NAME CHANGE...: makes ROOT, owners and modes kept, an image of one layer.
import() {
  local root=$1 name=$2 changes=()
  shift 2
  for change; do changes+=(--change "$change"); done
  tar -C "$root" --numeric-owner -c . | podman import -q "${changes[@]}" - "$name" >/dev/null
  echo "built the stand-in $name"
}

if ! podman image exists "$distroless"; then
  root=$work/distroless
  unpack "$root" base-files libc6 libgcc-s1 ca-certificates tzdata netbase
  printf '%s\n' root:x:0:0:root:/root:/sbin/nologin \
    nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin \
    nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin >"$root/etc/passwd"
  printf '%s\n' root:x:0: nobody:x:65534: tty:x:5: staff:x:50: nonroot:x:65532: >"$root/etc/group"
  rm -rf "$root"/{,usr/}{bin,sbin}
  install -d -m 700 -o 65532 -g 65532 "$root/home/nonroot"
  import "$root" "$distroless" "ENV $path" \
    "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" "USER 65532" "WORKDIR /home/nonroot"
fi

if ! podman image exists "$deno_image"; then
  root=$work/deno
  for folder in bin sbin lib lib64; do # the merged /usr of Debian
    mkdir -p "$root/usr/$folder"
    ln -s "usr/$folder" "$root/$folder"
  done
  unpack "$root" base-files base-passwd libc6 libgcc-s1 ca-certificates tzdata netbase \
    dash coreutils libacl1 libattr1 libgmp10 libselinux1 libpcre2-8-0 libssl3 \
    sed grep findutils tar gzip
  cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
  cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
  ln -sf dash "$root/usr/bin/sh"
  # Where this machine trusts a proxy of its own, the build has to trust it too.
  if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  fi
  install -m 755 "$DENO_BIN" "$root/usr/bin/deno"
  install -D -m 755 "$DENORT_BIN" "$root/usr/local/bin/denort"
  mkdir "$root/deno-dir"
  import "$root" "$deno_image" "ENV $path" "ENV DENO_VERSION=$DENO_VERSION" \
    "ENV DENO_DIR=/deno-dir/" "ENV DENO_INSTALL_ROOT=/usr/local" 'ENTRYPOINT ["deno"]' \
    "ENV DENORT_BIN=/usr/local/bin/denort" "ENV DENO_TLS_CA_STORE=system"
fi
