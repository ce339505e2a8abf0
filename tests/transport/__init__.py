"""The transport's contract: each behaviour on Twisted's own reactor and on libuv's, over real sockets."""
