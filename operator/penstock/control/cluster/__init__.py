"""The door to Kubernetes: `port` says what we ask of it, `client` asks, `store` remembers what was seen.

In: requests in our own words. Out: objects as plain JSON values, and our own errors.
Never: decides anything.
"""
