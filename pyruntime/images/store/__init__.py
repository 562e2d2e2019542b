"""The local store: blobs by digest, names, leases, extracted layers, garbage collection, verification.

layout     paths, locks, creating a store                  store     the store as one object
blobs      content by digest, downloads                     names     names of images
leases     content that running commands use                bundles   layers that bundles and containers use
layers     extracted layers; extract creates them           trees     removing and counting trees
collect    the garbage collection                           verify    verification; usage: disk usage
"""
