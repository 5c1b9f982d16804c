"""Services of type LoadBalancer: Octavia load balancers, floating IPs and security group rules."""
