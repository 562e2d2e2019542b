"""Registries: images over the network (distribution-spec), and how failures are handled.

settings, certificates, proxy    the configuration: registries.conf, certs.d, the environment
credentials, login               authentication files and credential helpers
connection, http, retry          an exchange on a kept connection; redirects; what is retried, and when
auth                             challenges and tokens
session                          requests to one repository at one endpoint: authenticated, retried, with error messages
download, upload                 blobs, resumed after interruptions
referrers, tags                  lists that registries keep, or that clients keep for them
client                           ``Repository``: all operations on a repository
registries                       ``Registries``: the configuration, and which image a name means

Registries are not trusted: a request by digest gives that content or an error.
"""
