# The cases with the gem grpc; with the argument `restarts`, calls until standard input ends.

require "grpc"
require "google/protobuf/well_known_types"
require "google/rpc/error_details_pb"
require "google/rpc/status_pb"
require "haven/data/v1/conversation_services_pb"
require "haven/data/v1/crisis_services_pb"
require "haven/data/v1/person_services_pb"
require "haven/identity/v1/account_services_pb"
require "haven/identity/v1/session_services_pb"
require "reflection_services_pb"
require "securerandom"

Data = Haven::Data::V1
Identity = Haven::Identity::V1
Reflection = Grpc::Reflection::V1
TEXT = "Grüße aus 東京 🌊".freeze
LARGE = 1_100_000
TOKEN = { "authorization" => "Bearer #{ENV.fetch('HAVEN_TOKEN')}" }.freeze

def file(variable) = File.read(ENV.fetch(variable))

def expect(condition, what)
  raise what.to_s unless condition
end

# Returns the failure of a call.
def failure
  yield
rescue GRPC::BadStatus => e
  e
else
  raise "the call succeeded"
end

# Returns the detail of a failure that has the type `kind`, or fails.
def detail(error, kind)
  status = Google::Rpc::Status.decode(error.metadata.fetch("grpc-status-details-bin"))
  packed = status.details.find { |any| any.is(kind) }
  expect(packed, "no #{kind.descriptor.name}")
  packed.unpack(kind)
end

def message(text)
  Data::AppendMessageRequest.new(sender_type: :SENDER_TYPE_USER, text:, request_id: SecureRandom.uuid)
end

class Cases
  def initialize
    plain = GRPC::Core::ChannelCredentials.new(file("HAVEN_CA"))
    certified = GRPC::Core::ChannelCredentials.new(file("HAVEN_CA"), file("HAVEN_KEY"), file("HAVEN_CERTIFICATE"))
    data = ENV.fetch("HAVEN_DATA")
    @conversation = Data::ConversationService::Stub.new(data, plain)
    @compressing = Data::ConversationService::Stub.new(
      data, plain, channel_args: GRPC::Core::CompressionOptions.new(default_algorithm: :gzip).to_channel_arg_hash,
    )
    @person = Data::PersonService::Stub.new(data, plain)
    @reflection = Reflection::ServerReflection::Stub.new(data, plain)
    @session = Identity::SessionService::Stub.new(ENV.fetch("HAVEN_IDENTITY"), plain)
    @account = Identity::AccountService::Stub.new(ENV.fetch("HAVEN_IDENTITY"), certified)
    @crisis = Data::CrisisService::Stub.new(data, certified)
  end

  def append(text, stub = @conversation) = stub.append_message(message(text), metadata: TOKEN).message

  def unary
    id = append(TEXT).id
    answer = @conversation.get_message(Data::GetMessageRequest.new(message_id: id), metadata: TOKEN)
    expect(answer.message.text == TEXT, "another text")
  end

  # Reads an export to its end. It fails unless each message was in it, or in `ids`, once.
  def exported(token, ids)
    last = nil
    @person.export_data(Data::ExportDataRequest.new(resume_token: token), metadata: TOKEN).each do |response|
      ids += response.messages.map(&:id)
      last = response
    end
    stored = last.manifest.exported.find { |table| table.table == "data.conversations" }.rows
    expect(stored >= 200 && ids.size == stored && ids.uniq.size == stored, "#{ids.size} messages, #{stored} stored")
  end

  def server_stream = exported("", [])

  def client_stream
    accounts = Array.new(2) do
      Identity::ImportAccountsRequest.new(
        user_id: SecureRandom.uuid, email: "#{SecureRandom.uuid}@example.org", goals: [:GOAL_BUILD_CONFIDENCE],
      )
    end
    answer = @account.import_accounts(accounts)
    expect(answer.created_count == 2, answer)
    answer = @account.import_accounts(accounts)
    expect(answer.existing_count == 2, answer)
  end

  def bidi_stream
    name = "haven.data.v1.ConversationService"
    questions = Queue.new
    questions << Reflection::ServerReflectionRequest.new(list_services: "")
    asked = Enumerator.new { |out| while (question = questions.pop) do out << question end }
    answers = @reflection.server_reflection_info(asked)
    names = answers.next.list_services_response.service.map(&:name)
    expect(names.include?(name), "the service is not listed")
    questions << Reflection::ServerReflectionRequest.new(file_containing_symbol: name)
    expect(answers.next.file_descriptor_response.file_descriptor_proto.any?, "no file")
    questions << nil
    answers.next
    raise "a third answer"
  rescue StopIteration
    nil
  end

  # Opens a stream, and returns its operation and its responses.
  def watch(**options)
    operation = @crisis.watch_crisis_events(Data::WatchCrisisEventsRequest.new, return_op: true, **options)
    [operation, operation.execute]
  end

  def certificate
    operation, responses = watch
    expect(responses.next.event.id != "", "no event")
    operation.cancel
  end

  def details
    error = failure do
      @conversation.append_message(Data::AppendMessageRequest.new(request_id: "x"), metadata: TOKEN)
    end
    expect(error.is_a?(GRPC::InvalidArgument), error)
    info = detail(error, Google::Rpc::ErrorInfo)
    expect([info.reason, info.domain] == %w[INVALID_FIELD haven], info)
    fields = detail(error, Google::Rpc::BadRequest).field_violations.map(&:field)
    expect((%w[request_id text sender_type] - fields).empty?, fields)
    expect(detail(error, Google::Rpc::RequestInfo).request_id != "", "no request id")
  end

  def retry_info
    request = Identity::SignInRequest.new(
      email: ENV.fetch("HAVEN_EMAIL"), password: ENV.fetch("HAVEN_PASSWORD"), request_id: SecureRandom.uuid,
    )
    error = failure { @session.sign_in(request) }
    expect(error.is_a?(GRPC::ResourceExhausted), error)
    expect(detail(error, Google::Rpc::ErrorInfo).reason == "RATE_LIMITED", "another reason")
    expect(detail(error, Google::Rpc::RetryInfo).retry_delay.seconds.positive?, "no delay")
  end

  def deadline
    _, responses = watch(deadline: Time.now + 1)
    error = failure { loop { responses.next } && raise("the stream ended") }
    expect(error.is_a?(GRPC::DeadlineExceeded), error)
  end

  def cancel
    operation, responses = watch
    responses.next
    operation.cancel
    error = failure { loop { responses.next } && raise("the stream ended") }
    expect(error.is_a?(GRPC::Cancelled), error)
    append("after a cancelled call")
  end

  def resume
    operation = @person.export_data(Data::ExportDataRequest.new, metadata: TOKEN, return_op: true)
    first = operation.execute.next
    operation.cancel
    exported(first.resume_token, first.messages.map(&:id))
  end

  def gzip = expect(append(TEXT * 50, @compressing).text == TEXT * 50, "another text")

  def large_answer
    answer = @conversation.list_messages(Data::ListMessagesRequest.new(page_size: 200), metadata: TOKEN)
    bytes = answer.messages.sum { |message| message.text.bytesize }
    expect(bytes > LARGE, "#{bytes} bytes")
  end

  def too_large
    error = failure { append("a" * (2 << 20)) }
    expect(error.is_a?(GRPC::ResourceExhausted), error)
    expect(detail(error, Google::Rpc::ErrorInfo).reason == "MESSAGE_TOO_LARGE", "another reason")
  end
end

# Calls both services, four callers at once, until standard input ends, through channels with the service config alone.
def restarts
  arguments = {
    "grpc.service_config" => file("HAVEN_SERVICE_CONFIG"), "grpc.ssl_target_name_override" => "localhost",
  }
  credentials = GRPC::Core::ChannelCredentials.new(file("HAVEN_CA"))
  identity, data = %w[HAVEN_IDENTITY_REPLICAS HAVEN_DATA_REPLICAS].map { |name| "ipv4:#{ENV.fetch(name)}" }
  account = Identity::AccountService::Stub.new(identity, credentials, channel_args: arguments)
  conversation = Data::ConversationService::Stub.new(data, credentials, channel_args: arguments)
  ended = false
  lock = Mutex.new
  appended = 0
  callers = Array.new(4) do
    Thread.new do
      until ended
        begin
          account.get_account(Identity::GetAccountRequest.new, metadata: TOKEN, deadline: Time.now + 30)
          conversation.append_message(message("x"), metadata: TOKEN, deadline: Time.now + 30)
          lock.synchronize { appended += 1; puts "round" }
        rescue GRPC::BadStatus => e
          lock.synchronize { puts "failed\t#{e.message.lines.first}" }
        end
      end
    end
  end
  $stdin.read
  ended = true
  callers.each(&:join)
  puts "appended\t#{appended}"
end

$stdout.sync = true
if ARGV.first == "restarts"
  restarts
else
  puts "version\tgem grpc #{GRPC::VERSION}, Ruby #{RUBY_VERSION}"
  cases = Cases.new
  [
    "unary", "server stream", "client stream", "bidi stream", "certificate", "details", "retry info", "deadline", "cancel",
    "resume", "gzip", "large answer", "too large",
  ].each do |name|
    cases.public_send(name.tr(" ", "_"))
    puts "#{name}\tyes"
  rescue StandardError => e
    puts "#{name}\tno: #{e.class}: #{e.message.scrub.split.join(' ')[0, 160]}"
  end
end
