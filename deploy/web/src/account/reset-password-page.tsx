import { LinkPage } from "./link-page";
import { ResetPasswordForm } from "./reset-password-form";

/** Sets a new password, by the link of an e-mail. */
export default function ResetPasswordPage() {
  return (
    <LinkPage
      title="Choose a new password"
      source="Ask for a reset of the password in the product that you use with the account."
    >
      {(token) => <ResetPasswordForm token={token} />}
    </LinkPage>
  );
}
