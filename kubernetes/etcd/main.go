// Command etcd is etcd's server and its client etcdctl in one binary: the name it is called by chooses.
//
// Neither can be installed from its own module by version, for both replace the modules of their repository.
package main

import (
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	if filepath.Base(os.Args[0]) == "etcdctl" {
		ctlv3.MustStart()
		return
	}
	etcdmain.Main(os.Args)
}
