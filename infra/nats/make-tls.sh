#!/usr/bin/env bash
# A certificate authority of your own and a certificate of the NATS server, for who has no other.
# Usage: make-tls.sh DIRECTORY NAME...   NAME: each DNS name or IP address by which clients reach the server
#        make-tls.sh --site DIRECTORY SITE   a certificate by which the server of a site proves itself to the hub
#
# The authority is made once; run again for a new server certificate. Clients need ca.pem alone: --tls-ca ca.pem.
# ca.key makes certificates that all of them trust: keep it where no server is.
set -euo pipefail
umask 077

file=server
usage=serverAuth
if [ "${1-}" = --site ]; then
  shift
  file=site
  usage=clientAuth
fi
if [ $# -lt 2 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
directory=$1
shift
mkdir -p "$directory"
cd "$directory"

names=''
for name in "$@"; do
  if [[ ! $name =~ ^[A-Za-z0-9.:_*-]+$ ]]; then
    echo "make-tls.sh: not a DNS name or an IP address: $name" >&2
    exit 2
  fi
  kind=DNS
  if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then kind=IP; fi
  names+="${names:+,}$kind:$name"
done

curve=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
if [ ! -e ca.key ]; then
  openssl req -x509 "${curve[@]}" -keyout ca.key -out ca.pem -days 3650 -subj '/CN=flowtag CA' \
    -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null
fi
openssl req "${curve[@]}" -keyout "$file.key" -out "$file.csr" -subj "/CN=flowtag NATS $file" 2>/dev/null
openssl x509 -req -in "$file.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 397 -out "$file.pem" -extfile <(
  echo "subjectAltName=$names"
  echo 'basicConstraints=critical,CA:FALSE'
  echo 'keyUsage=critical,digitalSignature'
  echo "extendedKeyUsage=$usage"
) 2>/dev/null
rm "$file.csr"
chmod 644 ca.pem "$file.pem"
openssl verify -CAfile ca.pem "$file.pem" >/dev/null
if [ "$file" = site ]; then
  echo "site: take $directory/site.pem, site.key and ca.pem to its server, and remove site.key here"
else
  echo "server: $directory/server.pem and server.key; clients: --tls-ca $directory/ca.pem"
fi
