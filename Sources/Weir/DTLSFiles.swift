import DTLS
import FoundationEssentials

/// The certificate that peers see in DTLS. They trust it by the fingerprint in the SDP, so a new one at each start is
/// as good as one from a file; a file keeps the fingerprint the same.
package enum DTLSFiles {
    /// - Throws: `TLSFilesError` that names the key and the remedy.
    package static func certificate(_ settings: Configuration.Media) throws(TLSFilesError) -> DTLSCertificate {
        do {
            guard !settings.dtlsCertificate.isEmpty else { return try DTLSCertificate.generate() }
            let certificate = try bytes(of: settings.dtlsCertificate)
            let key = settings.dtlsKey.isEmpty ? certificate : try bytes(of: settings.dtlsKey)
            return try DTLSCertificate(pemCertificate: certificate, pemKey: key)
        } catch {
            let what =
                settings.dtlsCertificate.isEmpty
                ? "a DTLS certificate cannot be made" : "media.dtls_certificate \(settings.dtlsCertificate)"
            throw TLSFilesError(
                "\(what): \(error); give a PEM certificate with its PEM key (in the same file or in media.dtls_key), "
                    + "or remove the key for a new one at each start")
        }
    }

    private static func bytes(of path: String) throws(TLSFilesError) -> [UInt8] {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)) else {
            throw TLSFilesError("\(path) cannot be read")
        }
        return Array(data)
    }
}
