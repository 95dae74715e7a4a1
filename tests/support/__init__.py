"""What several folders of tests share: clusters, servers, manifests, and a control plane in memory."""
