// Package backup is the file that a backup of a gateway is: files under plain names in a tar
// archive (POSIX.1-2017, pax), compressed by gzip (RFC 1952), sealed by age
// (age-encryption.org/v1). The last two members are the manifest, which has the SHA-256 of
// every other, and its signature. Stock tools open one: age -d -i KEY FILE | tar tz.
//
// Read manifest.go for what a backup says of itself, seal.go for who can open one, write.go and
// read.go for the file.
//
// Which files are a gateway is for others to know, and what they hold; so is whose signature
// is believed. Nothing here touches a file system. It does not defend against whoever has a key
// that opens the backup: the gateway's own keys are in it. Without a look at the signature
// it shows damage only, for anybody can seal something for a public key.
package backup
