"""Registries: images over the network (distribution-spec), and over its faults.

    settings, certificates, proxy    what is configured: registries.conf, certs.d, the environment
    credentials, login               who we are: authentication files and credential helpers
    connection, http, retry          one exchange on a kept connection; redirects; what is tried again, and when
    auth                             challenges and tokens
    session                          requests to one repository at one endpoint: authenticated, retried, explained
    download, upload                 blobs, resumed where they were cut
    referrers, tags                  lists that registries keep, or that clients keep for them
    client                           ``Repository``: the door to all of this

Nothing here trusts a registry: whoever asked for a digest gets that content or an error.
"""
