#!/bin/sh
# Makes the certificates that the tests use, valid for a hundred years. They prove nothing to anybody else.
set -e
openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -days 36500 -subj "/CN=ramet test CA" -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
mk() { # file subject san usage
 openssl ecparam -name prime256v1 -genkey -noout -out $1.key
 openssl req -new -key $1.key -subj "/CN=$2" -out $1.csr
 printf "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nsubjectAltName=$3\nextendedKeyUsage=$4\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n" > ext
 openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 -extfile ext -out $1.crt
 cat $1.key $1.crt > $1.pem; rm $1.key $1.csr $1.crt ext
}
mk localhost localhost "DNS:localhost,IP:127.0.0.1,IP:::1" serverAuth
mk other other.example "DNS:other.example" serverAuth
mk client "a client" "email:client@example.org" clientAuth
rm ca.key ca.srl
