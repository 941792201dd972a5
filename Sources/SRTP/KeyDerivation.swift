import COpenSSL
import Wire

/// Session keys of one direction (RFC 3711 §4.3.1 with key derivation rate 0; RFC 7714 §11 for the AEAD profiles).
package struct SessionKeys: Sendable {
    package let profile: SRTPProfile
    package var rtpKey: [UInt8]
    /// 20 bytes for HMAC-SHA1, empty for AEAD.
    package var rtpAuth: [UInt8]
    package var rtpSalt: [UInt8]
    package var rtcpKey: [UInt8]
    package var rtcpAuth: [UInt8]
    package var rtcpSalt: [UInt8]

    package init(profile: SRTPProfile, masterKey: [UInt8], masterSalt: [UInt8]) throws(SRTPError) {
        guard masterKey.count == profile.keyLength, masterSalt.count == profile.saltLength else {
            throw .badKeyLength
        }
        func derive(_ label: UInt8, _ count: Int) throws(SRTPError) -> [UInt8] {
            try KeyDerivation.derive(label: label, masterKey: masterKey, masterSalt: masterSalt, count: count)
        }
        let authLength = profile == .aes128CMHMACSHA1_80 ? 20 : 0
        self.profile = profile
        rtpKey = try derive(0, profile.keyLength)
        rtpAuth = try derive(1, authLength)
        rtpSalt = try derive(2, profile.saltLength)
        rtcpKey = try derive(3, profile.keyLength)
        rtcpAuth = try derive(4, authLength)
        rtcpSalt = try derive(5, profile.saltLength)
    }
}

enum KeyDerivation {
    /// AES-CM PRF (RFC 3711 §4.3.3): the key stream of the master key over a counter block made of salt and label.
    static func derive(label: UInt8, masterKey: [UInt8], masterSalt: [UInt8], count: Int) throws(SRTPError) -> [UInt8] {
        guard count > 0 else { return [] }
        var counter = [UInt8](repeating: 0, count: 16)
        for (i, byte) in masterSalt.prefix(14).enumerated() { counter[i] = byte }
        counter[7] ^= label
        guard let context = EVP_CIPHER_CTX_new() else { throw .library("EVP_CIPHER_CTX_new") }
        defer { EVP_CIPHER_CTX_free(context) }
        let cipher = masterKey.count == 32 ? EVP_aes_256_ctr() : EVP_aes_128_ctr()
        var out = [UInt8](repeating: 0, count: count)
        let zeros = [UInt8](repeating: 0, count: count)
        var written: CInt = 0
        guard EVP_EncryptInit_ex(context, cipher, nil, masterKey, counter) == 1,
            EVP_EncryptUpdate(context, &out, &written, zeros, CInt(count)) == 1, Int(written) == count
        else { throw .library("AES-CM key derivation") }
        return out
    }
}
