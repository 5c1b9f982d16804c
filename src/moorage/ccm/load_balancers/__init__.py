"""Services of type LoadBalancer: Octavia's load balancers, their floating IPs and the rules that let them in."""
