import CSRTP
import Wire

/// libsrtp2 behind our interface: the reference that the other backends are compared with.
final class LibSRTP {
    private static let started: Bool = srtp_init() == srtp_err_status_ok
    private let session: srtp_t
    private var sources: Set<UInt32> = []

    init(profile: SRTPProfile, key: [UInt8], salt: [UInt8], outbound: Bool) throws(SRTPError) {
        guard Self.started else { throw .backendUnavailable(SRTPBackendKind.libsrtp2.rawValue) }
        guard key.count == profile.keyLength, salt.count == profile.saltLength else { throw .badKeyLength }
        var policy = srtp_policy_t()
        switch profile {
        case .aes128CMHMACSHA1_80:
            srtp_crypto_policy_set_rtp_default(&policy.rtp)
            srtp_crypto_policy_set_rtcp_default(&policy.rtcp)
        case .aeadAES128GCM:
            srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp)
            srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp)
        case .aeadAES256GCM:
            srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp)
            srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp)
        }
        policy.ssrc.type = outbound ? ssrc_any_outbound : ssrc_any_inbound
        policy.window_size = UInt(SRTPLimits.replayWindow)
        policy.allow_repeat_tx = 1
        var material = key + salt
        var made: srtp_t?
        let status = material.withUnsafeMutableBufferPointer { bytes in
            policy.key = bytes.baseAddress
            return srtp_create(&made, &policy)
        }
        guard status == srtp_err_status_ok, let made else { throw .library("srtp_create: status \(status.rawValue)") }
        session = made
    }

    deinit { srtp_dealloc(session) }

    /// The library counts roll-overs itself, from 0: an index can be followed, not chosen.
    func protectRTP(_ packet: UnsafeMutableRawPointer, length: Int) -> Int {
        var total = CInt(length)
        return srtp_protect(session, packet, &total) == srtp_err_status_ok ? Int(total) : 0
    }

    func protectRTCP(_ packet: UnsafeMutableRawPointer, length: Int) -> Int {
        var total = CInt(length)
        return srtp_protect_rtcp(session, packet, &total) == srtp_err_status_ok ? Int(total) : 0
    }

    func unprotectRTP(_ packet: UnsafeMutableRawPointer, length: Int) -> SRTPResult {
        guard PacketLayout.rtpHeaderLength(packet, length: length) != nil else { return .malformed }
        return unprotect(ssrc: PacketLayout.bigEndian32(packet + 8), length: length) { [session] in
            srtp_unprotect(session, packet, $0)
        }
    }

    func unprotectRTCP(_ packet: UnsafeMutableRawPointer, length: Int) -> SRTPResult {
        guard length >= PacketLayout.rtcpHeaderLength else { return .malformed }
        return unprotect(ssrc: PacketLayout.bigEndian32(packet + 4), length: length) { [session] in
            srtp_unprotect_rtcp(session, packet, $0)
        }
    }

    private func unprotect(
        ssrc: UInt32, length: Int, _ body: (UnsafeMutablePointer<CInt>) -> srtp_err_status_t
    ) -> SRTPResult {
        guard sources.contains(ssrc) || sources.count < SRTPLimits.maxSources else { return .tooManySources }
        var total = CInt(length)
        switch body(&total) {
        case srtp_err_status_ok:
            sources.insert(ssrc)
            return .ok(length: Int(total))
        case srtp_err_status_replay_fail, srtp_err_status_replay_old: return .replayed
        case srtp_err_status_auth_fail: return .authenticationFailed
        default: return .malformed
        }
    }
}
