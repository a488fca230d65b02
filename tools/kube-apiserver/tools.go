//go:build tools

// Package tools names the program that `tools/kube-apiserver/build` builds, so that its module and checksums can be pinned here.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
