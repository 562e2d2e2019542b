"""The distribution protocol (distribution-spec 1.1): connections, authentication, mirrors, retries."""
