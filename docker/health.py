#!/usr/bin/env python3
"""The images' health check, health.py [PORT]: exits with 0 if /health answers 200."""

import http.client
import sys

port = int(sys.argv[1]) if sys.argv[1:] else 8000
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
connection.request("GET", "/health")
sys.exit(connection.getresponse().status != 200)
