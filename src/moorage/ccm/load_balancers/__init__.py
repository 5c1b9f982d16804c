"""Services of type LoadBalancer: Octavia load balancers, their floating IPs and the security group rules for them."""
