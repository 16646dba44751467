// The cases with grpc-go; with the argument `restarts`, calls until standard input ends.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	datav1 "haven/data/v1"
	identityv1 "haven/identity/v1"
	reflection "haven/reflection"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	text  = "Grüße aus 東京 🌊"
	large = 1_100_000
)

// must ends the program: what it checks is the work of the harness.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func requestID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	must(err)
	return strings.TrimSpace(string(id))
}

// settings returns TLS with the certificate of the backend if certified.
func settings(certified bool) *tls.Config {
	authority, err := os.ReadFile(os.Getenv("HAVEN_CA"))
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if certified {
		certificate, err := tls.LoadX509KeyPair(os.Getenv("HAVEN_CERTIFICATE"), os.Getenv("HAVEN_KEY"))
		must(err)
		config.Certificates = []tls.Certificate{certificate}
	}
	return config
}

func dial(address string, certified bool, options ...grpc.DialOption) *grpc.ClientConn {
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(settings(certified))))
	connection, err := grpc.Dial(address, options...)
	must(err)
	return connection
}

// person returns a context with the person's token.
func person() context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+os.Getenv("HAVEN_TOKEN"))
}

type client struct {
	conversation datav1.ConversationServiceClient
	people       datav1.PersonServiceClient
	reflection   reflection.ServerReflectionClient
	session      identityv1.SessionServiceClient
	crisis       datav1.CrisisServiceClient
	account      identityv1.AccountServiceClient
}

func (c *client) append(text string, options ...grpc.CallOption) (*datav1.Message, error) {
	answer, err := c.conversation.AppendMessage(person(), &datav1.AppendMessageRequest{
		SenderType: datav1.SenderType_SENDER_TYPE_USER, Text: text, RequestId: requestID(),
	}, options...)
	return answer.GetMessage(), err
}

func (c *client) unary() error {
	message, err := c.append(text)
	if err != nil {
		return err
	}
	answer, err := c.conversation.GetMessage(person(), &datav1.GetMessageRequest{MessageId: message.GetId()})
	if err == nil && answer.GetMessage().GetText() != text {
		return errors.New("another text")
	}
	return err
}

// exported reads an export to its end. It fails unless each message was in it, or in ids, once.
func (c *client) exported(token string, ids []string) error {
	stream, err := c.people.ExportData(person(), &datav1.ExportDataRequest{ResumeToken: token})
	if err != nil {
		return err
	}
	var manifest *datav1.ExportManifest
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for _, message := range response.GetMessages() {
			ids = append(ids, message.GetId())
		}
		manifest = response.GetManifest()
	}
	different := map[string]bool{}
	for _, id := range ids {
		different[id] = true
	}
	for _, table := range manifest.GetExported() {
		if table.GetTable() == "data.conversations" {
			stored := int(table.GetRows())
			if stored < 200 || stored != len(ids) || stored != len(different) {
				return fmt.Errorf("%d messages, %d different ones, %d stored", len(ids), len(different), stored)
			}
			return nil
		}
	}
	return errors.New("no manifest")
}

func (c *client) serverStream() error { return c.exported("", nil) }

func (c *client) clientStream() error {
	var accounts []*identityv1.ImportAccountsRequest
	for i := 0; i < 2; i++ {
		accounts = append(accounts, &identityv1.ImportAccountsRequest{
			UserId: requestID(), Email: requestID() + "@example.org",
			Goals: []identityv1.Goal{identityv1.Goal_GOAL_BUILD_CONFIDENCE},
		})
	}
	for attempt := 0; attempt < 2; attempt++ {
		stream, err := c.account.ImportAccounts(context.Background())
		if err != nil {
			return err
		}
		for _, account := range accounts {
			must(stream.Send(account))
		}
		answer, err := stream.CloseAndRecv()
		if err != nil {
			return err
		}
		counts := []int32{answer.GetCreatedCount(), answer.GetExistingCount()}
		if counts[attempt] != 2 {
			return fmt.Errorf("%v", answer)
		}
	}
	return nil
}

func (c *client) bidiStream() error {
	stream, err := c.reflection.ServerReflectionInfo(context.Background())
	if err != nil {
		return err
	}
	const name = "haven.data.v1.ConversationService"
	must(stream.Send(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{},
	}))
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	listed := false
	for _, service := range answer.GetListServicesResponse().GetService() {
		listed = listed || service.GetName() == name
	}
	if !listed {
		return errors.New("the service is not listed")
	}
	must(stream.Send(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name},
	}))
	answer, err = stream.Recv()
	if err != nil {
		return err
	}
	if len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		return errors.New("no file")
	}
	must(stream.CloseSend())
	if _, err = stream.Recv(); err != io.EOF {
		return fmt.Errorf("not the end: %v", err)
	}
	return nil
}

// watch opens a stream, and reads its first response.
func (c *client) watch(ctx context.Context) (datav1.CrisisService_WatchCrisisEventsClient, error) {
	stream, err := c.crisis.WatchCrisisEvents(ctx, &datav1.WatchCrisisEventsRequest{})
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err == nil && first.GetEvent().GetId() == "" {
		return nil, errors.New("no event")
	}
	return stream, err
}

func (c *client) certificate() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := c.watch(ctx)
	return err
}

func expectCode(err error, code codes.Code) error {
	if status.Code(err) != code {
		return fmt.Errorf("not %v: %v", code, err)
	}
	return nil
}

func (c *client) details() error {
	_, err := c.conversation.AppendMessage(person(), &datav1.AppendMessageRequest{RequestId: "x"})
	if wrong := expectCode(err, codes.InvalidArgument); wrong != nil {
		return wrong
	}
	fields, found := map[string]bool{}, 0
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetReason() == "INVALID_FIELD" && detail.GetDomain() == "haven" {
				found++
			}
		case *errdetails.RequestInfo:
			if detail.GetRequestId() != "" {
				found++
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				fields[violation.GetField()] = true
			}
		}
	}
	if found != 2 || !fields["request_id"] || !fields["text"] || !fields["sender_type"] {
		return fmt.Errorf("%v", status.Convert(err).Details())
	}
	return nil
}

func (c *client) retryInfo() error {
	_, err := c.session.SignIn(context.Background(), &identityv1.SignInRequest{
		Email: os.Getenv("HAVEN_EMAIL"), Password: os.Getenv("HAVEN_PASSWORD"), RequestId: requestID(),
	})
	if wrong := expectCode(err, codes.ResourceExhausted); wrong != nil {
		return wrong
	}
	for _, detail := range status.Convert(err).Details() {
		if detail, is := detail.(*errdetails.RetryInfo); is && detail.GetRetryDelay().GetSeconds() > 0 {
			return nil
		}
	}
	return errors.New("no delay")
}

func (c *client) deadline() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stream, err := c.watch(ctx)
	for err == nil {
		_, err = stream.Recv()
	}
	return expectCode(err, codes.DeadlineExceeded)
}

func (c *client) cancel() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := c.watch(ctx)
	if err != nil {
		return err
	}
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	if wrong := expectCode(err, codes.Canceled); wrong != nil {
		return wrong
	}
	_, err = c.append("after a cancelled call")
	return err
}

func (c *client) resume() error {
	ctx, cancel := context.WithCancel(person())
	defer cancel()
	stream, err := c.people.ExportData(ctx, &datav1.ExportDataRequest{})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	cancel()
	var ids []string
	for _, message := range first.GetMessages() {
		ids = append(ids, message.GetId())
	}
	return c.exported(first.GetResumeToken(), ids)
}

func (c *client) gzip() error {
	long := strings.Repeat(text, 50)
	message, err := c.append(long, grpc.UseCompressor("gzip"))
	if err == nil && message.GetText() != long {
		return errors.New("another text")
	}
	return err
}

func (c *client) largeAnswer() error {
	answer, err := c.conversation.ListMessages(person(), &datav1.ListMessagesRequest{PageSize: 200})
	if err == nil && proto.Size(answer) < large {
		return fmt.Errorf("%d bytes", proto.Size(answer))
	}
	return err
}

func (c *client) tooLarge() error {
	_, err := c.append(strings.Repeat("a", 2<<20))
	if wrong := expectCode(err, codes.ResourceExhausted); wrong != nil {
		return wrong
	}
	for _, detail := range status.Convert(err).Details() {
		if detail, is := detail.(*errdetails.ErrorInfo); is && detail.GetReason() == "MESSAGE_TOO_LARGE" {
			return nil
		}
	}
	return errors.New("another reason")
}

// replicated dials all of the addresses, through the service config alone.
func replicated(name, addresses string) *grpc.ClientConn {
	config, err := os.ReadFile(os.Getenv("HAVEN_SERVICE_CONFIG"))
	must(err)
	resolved := manual.NewBuilderWithScheme(name)
	state := resolver.State{}
	for _, address := range strings.Split(addresses, ",") {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	resolved.InitialState(state)
	return dial(name+":///", false, grpc.WithResolvers(resolved), grpc.WithDefaultServiceConfig(string(config)))
}

// restarts calls both services, four callers at once, until standard input ends.
func restarts() {
	account := identityv1.NewAccountServiceClient(replicated("identity", os.Getenv("HAVEN_IDENTITY_REPLICAS")))
	conversation := datav1.NewConversationServiceClient(replicated("data", os.Getenv("HAVEN_DATA_REPLICAS")))
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
		close(ended)
	}()
	var callers sync.WaitGroup
	var lock sync.Mutex
	appended := 0
	call := func() error {
		ctx, cancel := context.WithTimeout(person(), 30*time.Second)
		defer cancel()
		if _, err := account.GetAccount(ctx, &identityv1.GetAccountRequest{}); err != nil {
			return err
		}
		_, err := conversation.AppendMessage(ctx, &datav1.AppendMessageRequest{
			SenderType: datav1.SenderType_SENDER_TYPE_USER, Text: "x", RequestId: requestID(),
		})
		return err
	}
	for caller := 0; caller < 4; caller++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for {
				select {
				case <-ended:
					return
				default:
				}
				err := call()
				lock.Lock()
				if err == nil {
					appended++
					fmt.Println("round")
				} else {
					fmt.Printf("failed\t%v\n", err)
				}
				lock.Unlock()
			}
		}()
	}
	callers.Wait()
	fmt.Printf("appended\t%d\n", appended)
}

func main() {
	if os.Args[1] == "restarts" {
		restarts()
		return
	}
	fmt.Printf("version\tgrpc-go %s, Go %s\n", grpc.Version, strings.TrimPrefix(runtime.Version(), "go"))
	data := dial(os.Getenv("HAVEN_DATA"), false)
	c := &client{
		conversation: datav1.NewConversationServiceClient(data),
		people:       datav1.NewPersonServiceClient(data),
		reflection:   reflection.NewServerReflectionClient(data),
		session:      identityv1.NewSessionServiceClient(dial(os.Getenv("HAVEN_IDENTITY"), false)),
		account:      identityv1.NewAccountServiceClient(dial(os.Getenv("HAVEN_IDENTITY"), true)),
		crisis:       datav1.NewCrisisServiceClient(dial(os.Getenv("HAVEN_DATA"), true)),
	}
	for _, tried := range []struct {
		name string
		call func() error
	}{
		{"unary", c.unary},
		{"server stream", c.serverStream},
		{"client stream", c.clientStream},
		{"bidi stream", c.bidiStream},
		{"certificate", c.certificate},
		{"details", c.details},
		{"retry info", c.retryInfo},
		{"deadline", c.deadline},
		{"cancel", c.cancel},
		{"resume", c.resume},
		{"gzip", c.gzip},
		{"large answer", c.largeAnswer},
		{"too large", c.tooLarge},
	} {
		if err := tried.call(); err != nil {
			fmt.Printf("%s\tno: %s\n", tried.name, strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Printf("%s\tyes\n", tried.name)
		}
	}
}
