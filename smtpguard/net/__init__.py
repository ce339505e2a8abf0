"""The wire: endpoints made real, time-outs of many connections, TLS on a transport."""
