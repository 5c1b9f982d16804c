// Package options reads what flanneld is told: its flags, and flannel's network configuration.
package options

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Backends are those that flanneld is built with.
var Backends = []string{"vxlan", "host-gw"}

// Options are the flags. All but SubnetFile and Version are needed.
type Options struct {
	Kubeconfig  string
	NodeName    string
	NetConf     string
	InterfaceIP netip.Addr
	SubnetFile  string
	Version     bool
}

// Parse reads the arguments after the program's name; usage goes to output.
// The error is flag.ErrHelp when help was asked for, and names the flag otherwise.
func Parse(arguments []string, output io.Writer) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("flanneld", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "`file` with the API server's address and our credential")
	flags.StringVar(&o.NodeName, "node-name", "", "`name` of this node in Kubernetes")
	flags.StringVar(&o.NetConf, "net-conf", "", "`file` with flannel's network configuration (JSON)")
	flags.TextVar(&o.InterfaceIP, "iface-ip", netip.Addr{}, "`address` by which other nodes reach this one")
	flags.StringVar(&o.SubnetFile, "subnet-file", "/run/flannel/subnet.env", "`file` to write for CNI")
	flags.BoolVar(&o.Version, "version", false, "print flannel's version")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if extra := flags.Args(); len(extra) > 0 {
		return o, fmt.Errorf("%q is not a flag", extra[0])
	}
	if o.Version {
		return o, nil
	}
	return o, o.check()
}

func (o Options) check() error {
	needed := []struct{ flag, value string }{
		{"kubeconfig", o.Kubeconfig}, {"node-name", o.NodeName}, {"net-conf", o.NetConf},
	}
	for _, one := range needed {
		if one.value == "" {
			return fmt.Errorf("--%s is needed", one.flag)
		}
	}
	if !o.InterfaceIP.Is4() {
		return fmt.Errorf("--iface-ip must be an IPv4 address")
	}
	return nil
}

// CheckNetConf refuses a network configuration that flanneld could not carry out:
// it masquerades by nftables only, and has no other backends than Backends.
func CheckNetConf(text []byte) error {
	var conf struct {
		Network        string
		EnableIPv6     bool
		EnableNFTables bool
		Backend        struct{ Type string }
	}
	if err := json.Unmarshal(text, &conf); err != nil {
		return fmt.Errorf("not flannel's network configuration: %w", err)
	}
	if network, err := netip.ParsePrefix(conf.Network); err != nil || !network.Addr().Is4() {
		return fmt.Errorf("Network %q is not an IPv4 network", conf.Network)
	}
	if conf.EnableIPv6 {
		return fmt.Errorf("EnableIPv6 is not supported")
	}
	if !conf.EnableNFTables {
		return fmt.Errorf("EnableNFTables must be true")
	}
	if !slices.Contains(Backends, conf.Backend.Type) {
		return fmt.Errorf("Backend.Type %q is none of %s", conf.Backend.Type, strings.Join(Backends, ", "))
	}
	return nil
}
