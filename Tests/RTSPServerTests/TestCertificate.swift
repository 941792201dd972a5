/// A certificate for localhost that nobody else knows, and its key; valid for a hundred years.
enum TestCertificate {
    static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBfzCCASWgAwIBAgIURynGkbjlmQWqWuA7o234pdUuP0UwCgYIKoZIzj0EAwIw
        FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE5MzMwM1oYDzIxMjYxMDI4
        MTkzMzAzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
        PQMBBwNCAASoRNSNgKRPIGkGQOp44gKo3H9PnmIFJFDhBYK9Pxhq4lycc4rViwet
        tRlNVPxq8Ec/ZmRGyTd8NWd7wjzEEFKAo1MwUTAdBgNVHQ4EFgQU+NwBYlIHy17H
        TyHWktcMIhGZLv4wHwYDVR0jBBgwFoAU+NwBYlIHy17HTyHWktcMIhGZLv4wDwYD
        VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA2KUflhWZP5UwJ5n4U/sL
        6ODh5CxFqnoCZQoo/r8uSUgCIDK5bQhN2t5KIkyYKjKEkvG7/Cqfaah9Ue8vl1xz
        wpyV
        -----END CERTIFICATE-----
        """

    static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoDaNuuOtXWkMYIi8
        whDjEV6StxEgAgUfE1cZsPhJ7nahRANCAASoRNSNgKRPIGkGQOp44gKo3H9PnmIF
        JFDhBYK9Pxhq4lycc4rViwettRlNVPxq8Ec/ZmRGyTd8NWd7wjzEEFKA
        -----END PRIVATE KEY-----
        """
}
