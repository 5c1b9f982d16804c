// Command flanneld is flannel's daemon with its vxlan and host-gw backends, leases kept in the Kubernetes API
// and rules in nftables. flannel's own main also links the backends of several public clouds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
	"github.com/flannel-io/flannel/pkg/version"

	"moorage/flanneld/options"
)

func main() {
	o, err := options.Parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "flanneld:", err)
		os.Exit(2)
	}
	if o.Version {
		fmt.Println("flanneld", version.Version)
		return
	}
	log.SetFlags(0) // systemd's journal has the time
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil && ctx.Err() == nil {
		log.Fatalf("flanneld: %v", err)
	}
}

// run joins this node to the pod network, tells CNI and systemd, and keeps the network true until ctx ends.
func run(ctx context.Context, o options.Options) error {
	config, external, err := prepare(o)
	if err != nil {
		return err
	}
	manager, err := connect(ctx, o)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	network, err := register(ctx, manager, external, config, &group)
	if err != nil {
		return err
	}
	if err := allow(ctx, config, network); err != nil {
		return err
	}
	lease := network.Lease()
	err = manager.HandleSubnetFile(o.SubnetFile, config, true, lease.Subnet, lease.IPv6Subnet, network.MTU())
	if err != nil {
		return fmt.Errorf("%s: %w", o.SubnetFile, err)
	}
	group.Go(func() { network.Run(ctx) })
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("telling systemd: %w", err)
	}
	log.Printf("this node's pods are %s, by %s", lease.Subnet, config.BackendType)
	err = eventually(ctx, func() error { return manager.CompleteLease(ctx, lease, &group) })
	group.Wait()
	return err
}

// prepare looks at what does not depend on the API server, so that a mistake there is told at once.
func prepare(o options.Options) (*subnet.Config, *backend.ExternalInterface, error) {
	text, err := os.ReadFile(o.NetConf)
	if err != nil {
		return nil, nil, err
	}
	if err := options.CheckNetConf(text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.NetConf, err)
	}
	config, err := subnet.ParseConfig(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.NetConf, err)
	}
	stack, err := ipmatch.GetIPFamily(true, false)
	if err != nil {
		return nil, nil, err
	}
	external, err := ipmatch.LookupExtIface(o.InterfaceIP.String(), "", "", stack, ipmatch.PublicIPOpts{})
	if err != nil {
		return nil, nil, fmt.Errorf("no interface of this node has %s: %w", o.InterfaceIP, err)
	}
	return config, external, nil
}

// register takes the node's pod network as its lease and makes the backend's device and routes.
func register(
	ctx context.Context, manager subnet.Manager, external *backend.ExternalInterface, config *subnet.Config,
	group *sync.WaitGroup,
) (backend.Network, error) {
	chosen, err := backend.NewManager(ctx, manager, external).GetBackend(config.BackendType)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", config.BackendType, err)
	}
	var network backend.Network
	err = eventually(ctx, func() (err error) {
		network, err = chosen.RegisterNetwork(ctx, group, config)
		return err
	})
	return network, err
}

// allow lets pods reach what is outside the pod network, under the node's own address, and be forwarded to.
func allow(ctx context.Context, config *subnet.Config, network backend.Network) error {
	rules := nftables.NFTablesManager{}
	if err := rules.Init(ctx); err != nil {
		return err
	}
	const resync = 0 // nftables' rules are set once: nobody else writes to flannel's tables
	err := rules.SetupAndEnsureMasqRules(ctx, config.Network, ip.IP4Net{}, ip.IP4Net{},
		config.IPv6Network, ip.IP6Net{}, ip.IP6Net{}, network.Lease(), resync, false)
	if err != nil {
		return err
	}
	rules.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resync)
	return nil
}
