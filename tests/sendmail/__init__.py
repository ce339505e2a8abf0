"""The guard on the wire, in front of a real sendmail."""
