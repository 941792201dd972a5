import ControlPlane
import Glibc
import WeirJSON

/// `applications.json` of the state directory: replaced as a whole by rename, readable by its owner only, since it
/// holds passwords.
package struct ApplicationFile: ApplicationStore {
    /// A thousand applications with their lists of methods are less.
    private static let maxBytes = 16 << 20
    private static let mode: mode_t = 0o600

    package let path: String

    package init(path: String) { self.path = path }

    package func load() throws(ApplicationError) -> [Application] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return [] }
            throw failure("cannot be read")
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw failure("cannot be read") }
            if count == 0 { break }
            bytes += chunk[..<count]
            guard bytes.count <= Self.maxBytes else { throw .storage("\(path): is larger than \(Self.maxBytes) bytes") }
        }
        var limits = JSONParser.Limits()
        limits.bytes = Self.maxBytes
        guard let value = try? JSONParser.parse(bytes, limits: limits), case .array(let items)? = value["applications"]
        else { throw .storage("\(path): is no list of applications; mend or remove it") }
        var applications: [Application] = []
        for item in items {
            do throws(ApplicationError) {
                applications.append(try Application(json: item))
            } catch {
                throw .storage("\(path): \(item["appKey"]?.text ?? "an application without key"): \(error)")
            }
        }
        return applications
    }

    package func save(_ applications: [Application]) throws(ApplicationError) {
        let value = JSONValue.object([JSONMember("applications", .array(applications.map(\.storedJSON)))])
        let bytes = Array(value.serialized.utf8)
        let temporary = "\(path).new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, Self.mode)
        guard descriptor >= 0 else { throw failure("cannot be written") }
        let isWritten = write(bytes, to: descriptor)
        let reason = errno
        close(descriptor)
        guard isWritten, rename(temporary, path) == 0 else {
            if !isWritten { errno = reason }
            let error = failure("cannot be written")
            unlink(temporary)
            throw error
        }
    }

    /// All of it and down to the disk; the mode also if a file of that name was left behind.
    private func write(_ bytes: [UInt8], to descriptor: CInt) -> Bool {
        guard fchmod(descriptor, Self.mode) == 0 else { return false }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return fsync(descriptor) == 0
    }

    private func failure(_ what: String) -> ApplicationError {
        .storage("\(path): \(what): \(String(cString: strerror(errno)))")
    }
}

extension Application {
    /// Reads what `storedJSON` writes; also the body of the REST API, where `methods` may be missing: then none is
    /// attached, as with the original.
    package init(json: JSONValue) throws(ApplicationError) {
        guard case .object = json else { throw .invalid("it is no object") }
        func text(_ name: String) throws(ApplicationError) -> String? {
            switch json[name] {
            case nil, .null?: return nil
            case .string(let text)?: return text
            default: throw .invalid("\(name) is no text")
            }
        }
        guard let key = try text("appKey") else { throw .invalid("appKey is missing") }
        guard let url = try text("url") else { throw .invalid("url is missing") }
        var methods: Set<String> = []
        switch json["methods"] {
        case nil, .null?: break
        case .string("all")?: methods = Self.allMethods
        case .array(let names)?:
            for name in names {
                guard case .string(let text) = name else { throw .invalid("methods is no list of names") }
                methods.insert(text)
            }
        default: throw .invalid("methods is no list of names")
        }
        let credentials = try Self.credentials(
            username: text("restUsername"), password: text("restPassword"), secret: text("secretKey"))
        var config = RESTClientConfig()
        if let value = json["defaultRestClientConfig"], !value.isNull {
            do throws(RESTClientConfig.Malformed) {
                config = try RESTClientConfig(value)
            } catch {
                throw .invalid(error.description)
            }
        }
        try self.init(
            key: key, name: try text("name"), backend: try Backend(url), methods: methods, credentials: credentials,
            defaultRESTClientConfig: config)
    }

    /// With what `json` says; what it does not name stays. One way of authentication takes the place of the other.
    package func updated(by json: JSONValue) throws(ApplicationError) -> Application {
        guard case .object(let changes) = json, case .object(let members) = storedJSON else {
            throw .invalid("it is no object")
        }
        var replaced = Set(changes.map(\.name))
        if json["secretKey"] != nil { replaced.formUnion(["restUsername", "restPassword"]) }
        if json["restUsername"] != nil { replaced.formUnion(["secretKey"]) }
        return try Application(json: .object(members.filter { !replaced.contains($0.name) } + changes))
    }

    /// - Throws: `.invalid` if both ways are asked for: there is one `Authorization` header.
    package static func credentials(
        username: String?, password: String?, secret: String?
    ) throws(ApplicationError) -> Credentials {
        let secret = secret ?? ""
        let username = username ?? ""
        guard secret.isEmpty || username.isEmpty else {
            throw .invalid("a user name and a secret key exclude each other: there is one Authorization header")
        }
        if !secret.isEmpty { return .signature(secret: secret) }
        guard !username.isEmpty else {
            guard (password ?? "").isEmpty else { throw .invalid("there is a password without a user name") }
            return .none
        }
        return .basic(username: username, password: password ?? "")
    }

    /// Whole, with secrets: for the file only.
    var storedJSON: JSONValue {
        guard case .object(var members) = shownJSON else { return shownJSON }
        switch credentials {
        case .none: break
        case .basic(let username, let password):
            members.append(JSONMember("restUsername", .string(username)))
            members.append(JSONMember("restPassword", .string(password)))
        case .signature(let secret): members.append(JSONMember("secretKey", .string(secret)))
        }
        return .object(members)
    }

    /// Without secrets, for the REST API.
    package var shownJSON: JSONValue {
        .object([
            JSONMember("appKey", .string(key)), JSONMember("name", .string(name)),
            JSONMember("url", .string(backend.text)),
            JSONMember("methods", .array(methods.sorted().map(JSONValue.string))),
            JSONMember("defaultRestClientConfig", defaultRESTClientConfig.json),
        ])
    }
}
