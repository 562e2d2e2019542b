"""The content store: blobs by digest, names, leases, extracted layers, garbage collection, verification.

    layout     where what is, locks, opening and making         store     one object over it all
    blobs      content by digest, downloads                     names     references
    leases     what commands at work use                        bundles   what bundles and containers use
    layers     extracted layers; extract makes them             trees     removing and counting them
    collect    garbage collection                               verify    is everything what it says; du: who uses space
"""
