package options

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
)

var all = []string{
	"--kubeconfig", "/etc/kubeconfig", "--node-name", "node-0", "--net-conf", "/etc/net.json", "--iface-ip", "10.0.0.5",
}

func TestParse(t *testing.T) {
	o, err := Parse(all, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.NodeName != "node-0" || o.InterfaceIP.String() != "10.0.0.5" || o.SubnetFile != "/run/flannel/subnet.env" {
		t.Errorf("read %+v", o)
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		arguments []string
		says      string
	}{
		"nothing":         {nil, "--kubeconfig is needed"},
		"no node name":    {[]string{"--kubeconfig", "k"}, "--node-name is needed"},
		"no network":      {[]string{"--kubeconfig", "k", "--node-name", "n"}, "--net-conf is needed"},
		"no address":      {all[:6], "--iface-ip must be an IPv4 address"},
		"a wrong address": {append(all[:6:6], "--iface-ip", "10.0.0.500"), "iface-ip"},
		"an IPv6 address": {append(all[:6:6], "--iface-ip", "fd00::1"), "must be an IPv4 address"},
		"a stray word":    {append(all[:8:8], "now"), `"now" is not a flag`},
		"an unknown flag": {[]string{"--etcd-endpoints", "x"}, "etcd-endpoints"},
	}
	for name, one := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(one.arguments, io.Discard)
			if err == nil || !strings.Contains(err.Error(), one.says) {
				t.Errorf("error is %v, and should say %q", err, one.says)
			}
		})
	}
}

func TestParseTellsHelpAndVersionFromMistakes(t *testing.T) {
	if _, err := Parse([]string{"--help"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help gives %v", err)
	}
	if o, err := Parse([]string{"--version"}, io.Discard); err != nil || !o.Version {
		t.Errorf("--version gives %+v, %v", o, err)
	}
}

func TestCheckNetConf(t *testing.T) {
	good := `{"Network": "10.244.0.0/16", "EnableNFTables": true, "Backend": {"Type": "TYPE", "Port": 8472}}`
	for _, backend := range Backends {
		if err := CheckNetConf([]byte(strings.Replace(good, "TYPE", backend, 1))); err != nil {
			t.Errorf("%s: %v", backend, err)
		}
	}
	refused := map[string]string{
		`{"Network": "10.244.0.0/16"`: "not flannel's network configuration",
		`[]`:                          "not flannel's network configuration",
		`{}`:                          `Network "" is not an IPv4 network`,
		`{"Network": "fd00::/48", "EnableNFTables": true}`:                                   "is not an IPv4 network",
		`{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}`:                         "EnableNFTables must be true",
		`{"Network": "10.244.0.0/16", "EnableNFTables": true, "EnableIPv6": true}`:           "EnableIPv6",
		`{"Network": "10.244.0.0/16", "EnableNFTables": true}`:                               `Backend.Type "" is none of`,
		`{"Network": "10.244.0.0/16", "EnableNFTables": true, "Backend": {"Type": "aws-x"}}`: `"aws-x" is none of vxlan, host-gw`,
	}
	for text, says := range refused {
		if err := CheckNetConf([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error is %v, and should say %q", text, err, says)
		}
	}
}
