// The cases with gRPC for C++; with the argument `restarts`, calls until standard input ends.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "haven/data/v1/conversation.grpc.pb.h"
#include "haven/data/v1/crisis.grpc.pb.h"
#include "haven/data/v1/person.grpc.pb.h"
#include "haven/identity/v1/account.grpc.pb.h"
#include "haven/identity/v1/session.grpc.pb.h"
#include "reflection.grpc.pb.h"

namespace data = haven::data::v1;
namespace identity = haven::identity::v1;
namespace reflection = grpc::reflection::v1;
namespace rpc = google::rpc;
using std::string;

const string kText = "Grüße aus 東京 🌊";
const string kName = "haven.data.v1.ConversationService";
constexpr size_t kLarge = 1'100'000;

void Expect(bool condition, const string& what) {
  if (!condition) throw std::runtime_error(what);
}

string Variable(const char* name) {
  const char* value = std::getenv(name);
  Expect(value != nullptr, string(name) + " is not set");
  return value;
}

string File(const string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

string RequestId() {
  string id;
  std::ifstream("/proc/sys/kernel/random/uuid") >> id;
  return id;
}

std::shared_ptr<grpc::Channel> Channel(const string& address, bool certified = false,
                                       const grpc::ChannelArguments& arguments = {}) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = File(Variable("HAVEN_CA"));
  if (certified) {
    options.pem_cert_chain = File(Variable("HAVEN_CERTIFICATE"));
    options.pem_private_key = File(Variable("HAVEN_KEY"));
  }
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

// A context with the person's token.
struct Person : grpc::ClientContext {
  Person() { AddMetadata("authorization", "Bearer " + Variable("HAVEN_TOKEN")); }
};

void ExpectOk(const grpc::Status& status) {
  Expect(status.ok(), std::to_string(status.error_code()) + " " + status.error_message());
}

void ExpectCode(const grpc::Status& status, grpc::StatusCode code) {
  Expect(status.error_code() == code, std::to_string(status.error_code()) + " " + status.error_message());
}

// Returns the detail of a failure that has the type Kind, or fails.
template <typename Kind>
Kind Detail(const grpc::Status& failure) {
  rpc::Status status;
  Expect(status.ParseFromString(failure.error_details()), "the details are not a google.rpc.Status");
  Kind detail;
  for (const auto& packed : status.details()) {
    if (packed.UnpackTo(&detail)) return detail;
  }
  throw std::runtime_error("no " + Kind::descriptor()->name());
}

data::AppendMessageRequest Message(const string& text) {
  data::AppendMessageRequest request;
  request.set_sender_type(data::SENDER_TYPE_USER);
  request.set_text(text);
  request.set_request_id(RequestId());
  return request;
}

string Repeated(const string& text, int times) {
  string all;
  for (int i = 0; i < times; i++) all += text;
  return all;
}

class Cases {
 public:
  Cases() {
    auto channel = Channel(Variable("HAVEN_DATA"));
    conversation_ = data::ConversationService::NewStub(channel);
    people_ = data::PersonService::NewStub(channel);
    reflection_ = reflection::ServerReflection::NewStub(channel);
    session_ = identity::SessionService::NewStub(Channel(Variable("HAVEN_IDENTITY")));
    account_ = identity::AccountService::NewStub(Channel(Variable("HAVEN_IDENTITY"), true));
    crisis_ = data::CrisisService::NewStub(Channel(Variable("HAVEN_DATA"), true));
  }

  void Unary() {
    data::GetMessageRequest request;
    request.set_message_id(Append(kText).id());
    data::GetMessageResponse answer;
    Person context;
    ExpectOk(conversation_->GetMessage(&context, request, &answer));
    Expect(answer.message().text() == kText, "another text");
  }

  void ServerStream() { Exported("", {}); }

  void ClientStream() {
    std::vector<identity::ImportAccountsRequest> accounts(2);
    for (auto& account : accounts) {
      account.set_user_id(RequestId());
      account.set_email(RequestId() + "@example.org");
      account.add_goals(identity::GOAL_BUILD_CONFIDENCE);
    }
    for (bool again : {false, true}) {
      grpc::ClientContext context;
      identity::ImportAccountsResponse answer;
      auto stream = account_->ImportAccounts(&context, &answer);
      for (const auto& account : accounts) Expect(stream->Write(account), "the stream ended early");
      stream->WritesDone();
      ExpectOk(stream->Finish());
      Expect((again ? answer.existing_count() : answer.created_count()) == 2, answer.ShortDebugString());
    }
  }

  void BidiStream() {
    grpc::ClientContext context;
    auto stream = reflection_->ServerReflectionInfo(&context);
    reflection::ServerReflectionRequest question;
    reflection::ServerReflectionResponse answer;
    question.set_list_services("");
    Expect(stream->Write(question) && stream->Read(&answer), "no answer");
    bool listed = false;
    for (const auto& service : answer.list_services_response().service()) listed |= service.name() == kName;
    Expect(listed, "the service is not listed");
    question.set_file_containing_symbol(kName);
    Expect(stream->Write(question) && stream->Read(&answer), "no second answer");
    Expect(answer.file_descriptor_response().file_descriptor_proto_size() > 0, "no file");
    stream->WritesDone();
    Expect(!stream->Read(&answer), "a third answer");
    ExpectOk(stream->Finish());
  }

  void Certificate() {
    grpc::ClientContext context;
    auto stream = Watch(&context);
    context.TryCancel();
  }

  void Details() {
    data::AppendMessageRequest request;
    request.set_request_id("x");
    data::AppendMessageResponse answer;
    Person context;
    auto status = conversation_->AppendMessage(&context, request, &answer);
    ExpectCode(status, grpc::INVALID_ARGUMENT);
    auto info = Detail<rpc::ErrorInfo>(status);
    Expect(info.reason() == "INVALID_FIELD" && info.domain() == "haven", info.reason());
    std::set<string> fields;
    const auto violated = Detail<rpc::BadRequest>(status);
    for (const auto& violation : violated.field_violations()) fields.insert(violation.field());
    Expect(fields.count("request_id") && fields.count("text") && fields.count("sender_type"), "a field is missing");
    Expect(!Detail<rpc::RequestInfo>(status).request_id().empty(), "no request id");
  }

  void RetryInfo() {
    identity::SignInRequest request;
    request.set_email(Variable("HAVEN_EMAIL"));
    request.set_password(Variable("HAVEN_PASSWORD"));
    request.set_request_id(RequestId());
    identity::SignInResponse answer;
    grpc::ClientContext context;
    auto status = session_->SignIn(&context, request, &answer);
    ExpectCode(status, grpc::RESOURCE_EXHAUSTED);
    Expect(Detail<rpc::ErrorInfo>(status).reason() == "RATE_LIMITED", "another reason");
    Expect(Detail<rpc::RetryInfo>(status).retry_delay().seconds() > 0, "no delay");
  }

  void Deadline() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
    ExpectCode(End(Watch(&context).get()), grpc::DEADLINE_EXCEEDED);
  }

  void Cancel() {
    grpc::ClientContext context;
    auto stream = Watch(&context);
    context.TryCancel();
    ExpectCode(End(stream.get()), grpc::CANCELLED);
    Append("after a cancelled call");
  }

  void Resume() {
    data::ExportDataResponse first;
    {
      Person context;
      auto stream = people_->ExportData(&context, data::ExportDataRequest());
      Expect(stream->Read(&first), "no response");
      context.TryCancel();
      stream->Finish();
    }
    std::vector<string> ids;
    for (const auto& message : first.messages()) ids.push_back(message.id());
    Exported(first.resume_token(), ids);
  }

  void Gzip() {
    Person context;
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    data::AppendMessageResponse answer;
    auto text = Repeated(kText, 50);
    ExpectOk(conversation_->AppendMessage(&context, Message(text), &answer));
    Expect(answer.message().text() == text, "another text");
  }

  void LargeAnswer() {
    data::ListMessagesRequest request;
    request.set_page_size(200);
    data::ListMessagesResponse answer;
    Person context;
    ExpectOk(conversation_->ListMessages(&context, request, &answer));
    Expect(answer.ByteSizeLong() > kLarge, std::to_string(answer.ByteSizeLong()) + " bytes");
  }

  void TooLarge() {
    data::AppendMessageResponse answer;
    Person context;
    auto status = conversation_->AppendMessage(&context, Message(string(2 << 20, 'a')), &answer);
    ExpectCode(status, grpc::RESOURCE_EXHAUSTED);
    Expect(Detail<rpc::ErrorInfo>(status).reason() == "MESSAGE_TOO_LARGE", "another reason");
  }

 private:
  using Events = grpc::ClientReader<data::WatchCrisisEventsResponse>;

  data::Message Append(const string& text) {
    data::AppendMessageResponse answer;
    Person context;
    ExpectOk(conversation_->AppendMessage(&context, Message(text), &answer));
    return answer.message();
  }

  // Opens a stream, and reads its first response.
  std::unique_ptr<Events> Watch(grpc::ClientContext* context) {
    auto stream = crisis_->WatchCrisisEvents(context, data::WatchCrisisEventsRequest());
    data::WatchCrisisEventsResponse first;
    if (!stream->Read(&first)) ExpectOk(stream->Finish());
    Expect(!first.event().id().empty(), "no event");
    return stream;
  }

  // Reads a stream to its end.
  grpc::Status End(Events* stream) {
    data::WatchCrisisEventsResponse next;
    while (stream->Read(&next)) {
    }
    return stream->Finish();
  }

  // Reads an export to its end. It fails unless each message was in it, or in `ids`, once.
  void Exported(const string& token, std::vector<string> ids) {
    data::ExportDataRequest request;
    request.set_resume_token(token);
    Person context;
    auto stream = people_->ExportData(&context, request);
    data::ExportDataResponse response;
    while (stream->Read(&response)) {
      for (const auto& message : response.messages()) ids.push_back(message.id());
    }
    ExpectOk(stream->Finish());
    size_t stored = 0;
    for (const auto& table : response.manifest().exported()) {
      if (table.table() == "data.conversations") stored = table.rows();
    }
    auto different = std::set<string>(ids.begin(), ids.end()).size();
    Expect(stored >= 200 && ids.size() == stored && different == stored,
           std::to_string(ids.size()) + " messages, " + std::to_string(stored) + " stored");
  }

  std::unique_ptr<data::ConversationService::Stub> conversation_;
  std::unique_ptr<data::PersonService::Stub> people_;
  std::unique_ptr<reflection::ServerReflection::Stub> reflection_;
  std::unique_ptr<identity::SessionService::Stub> session_;
  std::unique_ptr<identity::AccountService::Stub> account_;
  std::unique_ptr<data::CrisisService::Stub> crisis_;
};

// Calls both services, four callers at once, until standard input ends, through channels with the service config alone.
void Restarts() {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(File(Variable("HAVEN_SERVICE_CONFIG")));
  arguments.SetSslTargetNameOverride("localhost");
  auto account =
      identity::AccountService::NewStub(Channel("ipv4:" + Variable("HAVEN_IDENTITY_REPLICAS"), false, arguments));
  auto conversation =
      data::ConversationService::NewStub(Channel("ipv4:" + Variable("HAVEN_DATA_REPLICAS"), false, arguments));
  std::atomic<bool> ended{false};
  std::mutex lock;
  int appended = 0;
  auto call = [&] {
    auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(30);
    Person reading;
    reading.set_deadline(deadline);
    identity::GetAccountResponse read;
    auto status = account->GetAccount(&reading, identity::GetAccountRequest(), &read);
    if (!status.ok()) return status;
    Person writing;
    writing.set_deadline(deadline);
    data::AppendMessageResponse written;
    return conversation->AppendMessage(&writing, Message("x"), &written);
  };
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; i++) {
    callers.emplace_back([&] {
      while (!ended) {
        auto status = call();
        std::lock_guard<std::mutex> guard(lock);
        if (status.ok()) {
          appended++;
          std::cout << "round" << std::endl;
        } else {
          std::cout << "failed\t" << status.error_code() << ": " << status.error_message() << std::endl;
        }
      }
    });
  }
  string line;
  while (std::getline(std::cin, line)) {
  }
  ended = true;
  for (auto& caller : callers) caller.join();
  std::cout << "appended\t" << appended << std::endl;
}

int main(int count, char** arguments) {
  if (count > 1 && string(arguments[1]) == "restarts") {
    Restarts();
    return 0;
  }
  std::cout << "version\tgRPC for C++ " << grpc::Version() << ", GCC " << __GNUC__ << std::endl;
  Cases cases;
  const std::vector<std::pair<string, void (Cases::*)()>> all = {
      {"unary", &Cases::Unary},
      {"server stream", &Cases::ServerStream},
      {"client stream", &Cases::ClientStream},
      {"bidi stream", &Cases::BidiStream},
      {"certificate", &Cases::Certificate},
      {"details", &Cases::Details},
      {"retry info", &Cases::RetryInfo},
      {"deadline", &Cases::Deadline},
      {"cancel", &Cases::Cancel},
      {"resume", &Cases::Resume},
      {"gzip", &Cases::Gzip},
      {"large answer", &Cases::LargeAnswer},
      {"too large", &Cases::TooLarge},
  };
  for (const auto& [name, method] : all) {
    try {
      (cases.*method)();
      std::cout << name << "\tyes" << std::endl;
    } catch (const std::exception& error) {
      std::cout << name << "\tno: " << error.what() << std::endl;
    }
  }
}
