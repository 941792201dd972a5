"""Every SRTP profile with every backend, each the only one the server has, between two real Chromiums."""

import pytest

from browser import check_media

PROFILES = ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES128_CM_HMAC_SHA1_80"]
BACKENDS = ["ipsec-mb", "openssl", "libsrtp2"]
SECONDS = 1.5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("profile", PROFILES)
async def test_only_profile_and_backend(start_server, new_page, name, profile, backend):
    server = start_server({"media": {"srtp_profiles": [profile], "srtp_backend": backend}})
    assert f"srtp={backend} " in server.log_tail(), "the server did not start with the wanted backend"
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, "VP8")
    await publisher.wait_frames("pub", 1)
    await player.whep_play(server, name)
    await check_media(publisher, player, "VP8", seconds=SECONDS)
    for page, key in ((publisher, "pub"), (player, "play")):
        assert (await page.call("stats", key))["srtpCipher"] == f"SRTP_{profile}"  # name in RFC 5764
