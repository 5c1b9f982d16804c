package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"moorage/flanneld/options"
)

const (
	annotations    = "flannel.alpha.coreos.com"
	retryBetween   = 100 * time.Millisecond
	requestTimeout = 5 * time.Second
)

// connect waits for the credential, for the API server, and for this node's pod network: at a first boot
// none of them is there at once.
//
// flannel's manager asks once a second whether it has its list of nodes; ours asks for this node more often,
// meanwhile, so that no second is lost once the controllers have given the node its network.
func connect(ctx context.Context, o options.Options) (subnet.Manager, error) {
	var client kubernetes.Interface
	err := eventually(ctx, func() (err error) {
		if client, err = newClient(o.Kubeconfig); err != nil {
			return err
		}
		_, err = podCIDR(ctx, client, o.NodeName)
		if apierrors.IsNotFound(err) {
			return nil // the API server answers, and that is all we want to know
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	manager := make(chan subnet.Manager, 1)
	go func() { manager <- newManager(ctx, o) }()
	err = eventually(ctx, func() error {
		cidr, err := podCIDR(ctx, client, o.NodeName)
		if err == nil && cidr == "" {
			return fmt.Errorf("node %q has no pod network yet", o.NodeName)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if made := <-manager; made != nil {
		return made, nil
	}
	return nil, ctx.Err()
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // we pace ourselves
	config.Timeout = requestTimeout
	return kubernetes.NewForConfig(config)
}

// podCIDR is "" for a node that the controllers have not given one yet.
func podCIDR(ctx context.Context, client kubernetes.Interface, node string) (string, error) {
	found, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return found.Spec.PodCIDR, nil
}

// newManager makes flannel's keeper of leases; nil when ctx has ended before.
func newManager(ctx context.Context, o options.Options) (manager subnet.Manager) {
	err := eventually(ctx, func() (err error) {
		// The node's name is taken from the environment only.
		if err := os.Setenv("NODE_NAME", o.NodeName); err != nil {
			return err
		}
		manager, err = kube.NewSubnetManager(ctx, "", o.Kubeconfig, annotations, o.NetConf, true)
		return err
	})
	if err != nil {
		return nil
	}
	return manager
}

// eventually tries until it works, saying each new reason once; the error is ctx's.
func eventually(ctx context.Context, try func() error) error {
	for said := ""; ; {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if said != err.Error() {
			said = err.Error()
			log.Printf("waiting: %s", said)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryBetween):
		}
	}
}
